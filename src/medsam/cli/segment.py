"""`medsam segment`: images and prompts in, masks out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def segment(
    inputs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    box: Annotated[list[str], Parameter(negative=(), allow_leading_hyphen=True)] = [],  # noqa: B006 - cyclopts reads it
    point: Annotated[list[str], Parameter(negative=(), allow_leading_hyphen=True)] = [],  # noqa: B006
    prompts: Path | None = None,
    slice: int | None = None,
    plane: Literal["axial", "coronal", "sagittal"] | None = None,
    modality: str | None = None,
    window: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    model: str | None = None,
    device: str | None = None,
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32",
    runtime: Literal["auto", "torch", "openvino"] = "torch",
    format: str | None = None,
    reference: Path | None = None,
    series: str | None = None,
    geometry: Literal["refuse", "resample"] = "refuse",
    volume: int | None = None,
    overlay: Path | None = None,
    record: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Segment images from boxes and points.

    Parameters
    ----------
    inputs
        Image files, DICOM folders, folders of images, or globs.
    output
        A file (.png, .nii.gz, .nrrd, .mha, .npz, .json for COCO, .dcm, ...) for one input; a folder for several.
    box
        x0,y0,x1,y1 in pixels, again and again; box i becomes label i. Six numbers x0,y0,z0,x1,y1,z1 make a 3D box.
    point
        x,y inside the object, or x,y,0 outside it, again and again; all points are one object, or refine the one box.
    prompts
        JSON or CSV file of prompts, for many objects, slices or images.
    slice
        The slice the boxes and points were drawn on, from 0; needed for volumes.
    plane
        The plane whose slices are meant; the file's own storage order without it.
    modality
        CT, MR, ultrasound, ... where the file does not say.
    window
        CT window: soft-tissue, lung, brain, bone, ... or width,level.
    model
        Catalog name or weights file; the default model without it.
    device
        cpu, cuda or mps; the best one there without it.
    precision
        Arithmetic of the image encoder.
    runtime
        What runs the image encoder.
    format
        Format where the suffix does not tell it (rtstruct, dicom-seg:LABELMAP); for folders, the suffix of the masks.
    reference
        DICOM series the mask belongs to, where the input is not it.
    series
        SeriesInstanceUID to take from a DICOM folder that holds several.
    geometry
        Refuse DICOM series with gaps or tilt, or resample them onto a regular grid.
    volume
        Which volume of a file that holds several, from 0.
    overlay
        Picture (.png) with the contours; a folder for several inputs.
    record
        JSON file that says which model, prompts, window and versions made the masks, and how long it took.
    overwrite
        Make masks again that exist already; without it a stopped run over a folder goes on where it stopped.
    """
    from medsam.cli.batch import run_batch
    from medsam.cli.plan import Options

    return run_batch(
        Options(
            inputs=tuple(inputs), output=output, boxes=tuple(box), points=tuple(point), prompts_file=prompts, slice=slice,
            plane=plane, modality=modality, window=window, model=model, device=device, precision=precision, runtime=runtime,
            format=format, reference=reference, series=series, geometry=geometry, volume=volume, overlay=overlay,
            record=record, overwrite=overwrite,
        )
    )  # fmt: skip
