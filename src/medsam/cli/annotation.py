"""What `medsam annotate` does: scan and markers read, boxes made, mask written, run reported."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from medsam.annotation.annotate import AnnotationResult, annotate, slice_axis
from medsam.annotation.interpolation import Interpolation, boxes_from_markers
from medsam.annotation.marker_files import Target, read_markers
from medsam.annotation.markers import Objects
from medsam.cli.outputs import refuse_overwriting
from medsam.cli.picture import check_picture, write_picture
from medsam.imaging.image import Image
from medsam.imaging.intensity import normalize
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.io.atomic import replacing
from medsam.io.formats import check_writable, read_image, write_mask


@dataclass(frozen=True)
class Request:
    """The flags of `medsam annotate` that do not concern the model."""

    scan: str
    markers: tuple[Path, ...]
    output: Path
    modality: str | None
    window: str | None
    how: Interpolation
    objects: Objects
    plane: str | None
    format: str | None
    reference: Path | None
    series: str | None
    geometry: Literal["refuse", "resample"]
    volume: int | None
    cache: Path | None
    overlay: Path | None
    record: Path | None


def run_request(request: Request, load: Callable[[], Predictor]) -> None:
    """Annotate one scan, write what was asked for and print a line per object.

    Args:
        request: What to do.
        load: Called for the model once scan and markers were found good.

    Raises:
        MedsamError: a file or a flag that does not fit; nothing is written then.
    """
    start = time.perf_counter()
    check_picture(request.overlay)
    refuse_overwriting(
        [request.output, request.overlay, request.record], [request.scan, *request.markers, request.reference]
    )
    with _local(request.scan) as source:
        check_writable(request.output, reference=request.reference or source, format=request.format)
        raw = read_image(
            source, modality=request.modality, series=request.series, geometry=request.geometry, volume=request.volume
        )
        image = normalize(raw, window=request.window)
        axis = slice_axis(image, request.plane or 0)
        target = Target(image.grid, axis, source)
        drawn = read_markers(request.markers, target, objects=request.objects)
        boxes_from_markers(drawn, target.sliced, request.how)  # bad markers are refused before the model is loaded
        predictor = load()
        how, cache = request.how, EmbeddingCache(request.cache) if request.cache else None
        result = annotate(
            predictor, image, drawn, interpolation=how.method, margin_px=how.margin_px, max_gap=how.max_gap, plane=axis,
            cache=cache, progress=_bar(),
        )  # fmt: skip
        reference = request.reference or source
        series = request.series if request.reference is None else None  # it names a series of the scan
        write_mask(result.mask, request.output, reference=reference, format=request.format, series=series)
        if source != Path(request.scan):
            _store(request.scan, request.output)
    if request.overlay is not None:
        _picture(request.overlay, image, result, axis)
    seconds = {**result.seconds, "total": time.perf_counter() - start}
    if request.record is not None:
        _write_record(request, predictor, result, seconds)
    _report(request.output, result, {m.slice for m in drawn}, seconds)


@contextmanager
def _local(scan: str) -> Iterator[Path]:
    """The scan on this machine; a series of a PACS is fetched into a folder that goes away again."""
    from medsam.io.dicomweb import fetch, is_address, parse_address

    if not is_address(scan):
        yield Path(scan)
        return
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
    boxes = [(label, k, box) for label, own in result.boxes.items() for k, box in own.items()]
    prompts = [Prompt(label=label, slice=k, box=box) for label, k, box in boxes]
    write_picture(path, image.moved_axis(axis), result.mask.moved_axis(axis), prompts)


def _write_record(request: Request, predictor: Predictor, result: AnnotationResult, seconds: dict[str, float]) -> None:
    import platform
    from datetime import UTC, datetime

    import numpy
    import torch

    from medsam import __version__

    versions = {"openmedsam": __version__, "torch": torch.__version__, "numpy": numpy.__version__}
    record = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {**versions, "python": platform.python_version()},
        "model": json.loads(predictor.manifest.to_json()),
        "weights": predictor.weights,
        "scan": _shown(request.scan),
        "markers": [str(m) for m in request.markers],
        "output": str(request.output),
        "window": request.window,
        "plane": request.plane,
        "volume": request.volume,
        **asdict(request.how),
        "boxes": {n: {k: [round(v, 3) for v in box] for k, box in own.items()} for n, own in result.boxes.items()},
        "scores": {n: {k: round(v, 4) for k, v in own.items()} for n, own in result.scores.items()},
        "seconds": {phase: round(value, 4) for phase, value in seconds.items()},
    }
    assert request.record is not None  # noqa: S101 - asked by the caller
    with replacing(request.record) as temporary:
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
