"""`medsam annotate`: a scan and a few axis lines in, a 3D mask out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


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
    volume: int | None = None,
    cache: Path | None = None,
    overlay: Path | None = None,
    record: Path | None = None,
) -> None:
    """Turn long and short axis lines drawn on some slices into a mask on all slices between them.

    Parameters
    ----------
    scan
        Image file or DICOM folder; or dicomweb://host/dicom-web/studies/.../series/..., where a .dcm output is stored too.
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
        Added to every side of a box; 5 without it (legacy adds it twice), 0 for the bare rectangle over the lines.
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
    volume
        Which volume of a file that holds several, from 0.
    cache
        Folder for embeddings, so that the next markers on the same scan answer fast.
    overlay
        Picture (.png) of up to 12 slices with contours and boxes.
    record
        JSON file with boxes, scores, seconds, model and versions.
    """
    from medsam.annotation.interpolation import Interpolation
    from medsam.cli.annotation import Request, run_request
    from medsam.inference.predictor import Predictor, load_predictor

    def load() -> Predictor:
        return load_predictor(model, device=device, precision=precision, runtime=runtime)

    request = Request(
        scan=scan, markers=tuple(markers), output=output, modality=modality, window=window,
        how=Interpolation(interpolation, margin_px, max_gap), objects=objects, plane=plane, format=format,
        reference=reference, series=series, geometry=geometry, volume=volume, cache=cache, overlay=overlay,
        record=record,
    )  # fmt: skip
    run_request(request, load)
