"""`medsam annotate`: a scan and a few axis lines in, a 3D mask out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from medsam.annotation.annotate import AnnotationResult
    from medsam.imaging.image import Image
    from medsam.inference.predictor import Predictor


def annotate(
    scan: str,
    /,
    *,
    markers: Annotated[list[Path], Parameter(negative=(), consume_multiple=True)],
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    modality: str | None = None,
    window: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    interpolation: Literal["linear", "legacy"] = "linear",
    margin_px: float | None = None,
    max_gap: int | None = None,
    objects: Literal["labels", "strokes"] = "labels",
    plane: Literal["axial", "coronal", "sagittal"] | None = None,
    model: str | None = None,
    device: str | None = None,
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32",
    runtime: Literal["auto", "torch", "openvino"] = "auto",
    format: str | None = None,
    reference: Path | None = None,
    series: str | None = None,
    geometry: Literal["refuse", "resample"] = "refuse",
    cache: Path | None = None,
    overlay: Path | None = None,
    record: Path | None = None,
) -> None:
    """Turn long and short axis lines drawn on some slices into a mask on all slices between them.

    Parameters
    ----------
    scan
        Image file or DICOM folder; or dicomweb://host/dicom-web/studies/.../series/..., where the result is stored too.
    markers
        Label volume, 3D Slicer .mrk.json, CSV or JSON of line ends, DICOM SR, or npz with recist; several are joined.
    output
        Mask to write; the suffix chooses the format (.nii.gz, .nrrd, .seg.nrrd, .mha, .npz, .dcm, ...).
    modality
        CT, MR, ultrasound, ... where the file does not say.
    window
        CT window: soft-tissue, lung, brain, bone, ... or width,level.
    interpolation
        Boxes between marked slices: corners move linearly, or the released distance maps, which shrink them.
    margin_px
        Added to every side of a box; 0, or 5 (twice) for legacy, without it.
    max_gap
        Marked slices further apart than this are not bridged.
    objects
        Every label is an object, or every stroke is one until strokes overlap from slice to slice.
    plane
        The plane the markers were drawn in; the file's own storage order without it.
    model
        Catalog name or weights file; the default model without it.
    device
        cpu, cuda or mps; the best one there without it.
    precision
        Arithmetic of the image encoder.
    runtime
        What runs the image encoder.
    format
        Format where the suffix does not tell it (rtstruct, dicom-seg:LABELMAP).
    reference
        DICOM series the mask belongs to, where the scan is not it.
    series
        SeriesInstanceUID to take from a DICOM folder that holds several.
    geometry
        Refuse DICOM series with gaps or tilt, or resample them onto a regular grid.
    cache
        Folder for embeddings, so that the next markers on the same scan answer fast.
    overlay
        Picture (.png) of up to 12 slices with contours and boxes.
    record
        JSON file with boxes, scores, seconds, model and versions.
    """
    from medsam.annotation.annotate import annotate as run
    from medsam.annotation.annotate import slice_axis
    from medsam.annotation.interpolation import Interpolation, boxes_from_markers
    from medsam.annotation.marker_files import Target, read_markers
    from medsam.imaging.intensity import normalize
    from medsam.inference.cache import EmbeddingCache
    from medsam.inference.predictor import load_predictor
    from medsam.io.formats import read_image, write_mask

    start = time.perf_counter()
    with _local(scan) as source:
        image = normalize(read_image(source, modality=modality, series=series, geometry=geometry), window=window)
        axis = slice_axis(image, plane or 0)
        drawn = read_markers(markers, target := Target(image.grid, axis, source), objects=objects)
        boxes_from_markers(
            drawn, target.sliced, Interpolation(interpolation, margin_px, max_gap)
        )  # refuse before loading
        predictor = load_predictor(model, device=device, precision=precision, runtime=runtime)
        result = run(
            predictor, image, drawn, interpolation=interpolation, margin_px=margin_px, max_gap=max_gap, plane=axis,
            cache=EmbeddingCache(cache) if cache else None, progress=_bar(),
        )  # fmt: skip
        write_mask(result.mask, output, reference=reference or source, format=format)
        if source != Path(scan):
            _store(scan, output)
    if overlay is not None:
        _picture(overlay, image, result, axis)
    seconds = {**result.seconds, "total": time.perf_counter() - start}
    if record is not None:
        how = {
            "interpolation": interpolation,
            "margin_px": margin_px,
            "max_gap": max_gap,
            "plane": plane,
            "window": window,
        }
        rounded = {phase: round(value, 4) for phase, value in seconds.items()}
        files = {"scan": _shown(scan), "markers": [str(m) for m in markers], "output": str(output)}
        _write_record(record, predictor, result, {**files, **how, "seconds": rounded})
    _report(output, result, {m.slice for m in drawn}, seconds)


@contextmanager
def _local(scan: str) -> Iterator[Path]:
    """The scan on this machine; a series of a PACS is fetched into a folder that goes away again."""
    from medsam.io.dicomweb import fetch, is_address, parse_address

    if not is_address(scan):
        yield Path(scan)
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="medsam-") as folder:
        series = Path(folder) / "series"
        fetch(parse_address(scan), series)
        yield series


def _shown(scan: str) -> str:
    """The scan as a record may name it: without the credentials of an address."""
    from medsam.io.dicomweb import is_address, parse_address

    if not is_address(scan):
        return scan
    address = parse_address(scan)
    return f"{address.url}/studies/{address.study}/series/{address.series}"


def _store(scan: str, output: Path) -> None:
    from medsam.io.dicomweb import parse_address, store

    if output.suffix.lower() == ".dcm":
        store(parse_address(scan), [output])


def _bar() -> Callable[[int, int], None] | None:
    if not sys.stderr.isatty():
        return None
    return lambda done, total: print(f"\r{done}/{total} slices", end="\n" if done == total else "", file=sys.stderr)


def _picture(path: Path, image: Image, result: AnnotationResult, axis: int) -> None:
    from medsam.cli.picture import write_picture
    from medsam.imaging.prompts import Prompt

    prompts = [
        Prompt(label=label, slice=index, box=box) for label, own in result.boxes.items() for index, box in own.items()
    ]
    write_picture(path, image.moved_axis(axis), result.mask.moved_axis(axis), prompts)


def _write_record(path: Path, predictor: Predictor, result: AnnotationResult, run: dict[str, object]) -> None:
    import platform
    from datetime import UTC, datetime

    import numpy
    import torch

    from medsam import __version__
    from medsam.io.atomic import replacing

    boxes = {label: {k: [round(v, 3) for v in box] for k, box in own.items()} for label, own in result.boxes.items()}
    scores = {label: {k: round(v, 4) for k, v in own.items()} for label, own in result.scores.items()}
    python = platform.python_version()
    record = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "openmedsam": __version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": python,
        },
        "model": json.loads(predictor.manifest.to_json()),
        "weights": predictor.weights,
        **run,
        "boxes": boxes,
        "scores": scores,
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _report(output: Path, result: AnnotationResult, marked: set[int], seconds: dict[str, float]) -> None:
    for label, own in result.boxes.items():
        voxels = int((result.mask.labels == label).sum())
        lowest = min(result.scores[label], key=lambda k: result.scores[label][k])
        seen = len(marked & set(own))
        print(
            f"object {label}: {voxels} voxels on slices {min(own)} to {max(own)}, {seen} of {len(own)} marked; "
            f"lowest score {result.scores[label][lowest]:.2f} on slice {lowest}"
        )
    print(f"{output}: {seconds['total']:.1f} s (encode {seconds['encode']:.1f}, decode {seconds['decode']:.1f})")
