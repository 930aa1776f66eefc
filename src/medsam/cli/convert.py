"""`medsam convert`: masks between all formats, images between volume formats, and slices to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from medsam.cli.flags import FileFlags, IntensityFlags, MaskFlags, PlaneFlag, ThisTerminal
from medsam.jobs.options import FileOptions, IntensityOptions, MaskOptions

if TYPE_CHECKING:
    from medsam.imaging.image import Image, Mask


def convert(
    source: Path,
    destination: Path,
    /,
    *,
    kind: Literal["auto", "mask", "image"] = "auto",
    only: Annotated[list[str], Parameter(negative=())] = [],  # noqa: B006 - cyclopts reads it
    overlap: Literal["refuse", "first", "last"] = "refuse",
    slice: int | None = None,
    plane: PlaneFlag = None,
    file: FileFlags = FileOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    mask: MaskFlags = MaskOptions(),
    terminal: ThisTerminal,
) -> None:
    """Convert a mask or an image to the format that the destination's suffix names.

    Args:
        source: A mask (.nii.gz, .nrrd, .seg.nrrd, .mha, .png, .npz, COCO .json, .geojson, .stl, DICOM SEG or RTSTRUCT
            .dcm) or an image (a DICOM folder, NIfTI, NRRD, ..., a series of a PACS).
        destination: Where to. Images go to .nii, .nii.gz, .nrrd, .nhdr, .mha and .mhd, one slice of them to .png.
        kind: What the source is, where both would do; files between NIfTI, NRRD and MHA are copied as images without it.
        only: Name or number of a structure to take, again and again; all of them without it.
        overlap: Where structures overlap: refuse, or the first or the last of the file wins.
        slice: The one slice to write, from 0; CT takes --window.
    """
    from medsam.jobs.convert import ConvertRequest
    from medsam.jobs.convert import convert as run

    result = run(
        ConvertRequest(
            source=source, destination=destination, kind=kind, only=tuple(only), overlap=overlap, slice=slice,
            plane=plane, file=file, intensity=intensity, mask=mask,
        )
    )  # fmt: skip
    facts = _facts(result.written)
    terminal.report({"output": str(destination), **facts}, f"{destination}: {_line(facts)}")


def _facts(written: Mask | Image) -> dict[str, object]:
    from medsam.imaging.image import Mask

    if isinstance(written, Mask):
        labels = {str(i): written.names.get(i, "") for i in written.ids}
        return {"kind": "mask", "shape": list(written.grid.shape), "labels": labels}
    return {"kind": "image", "shape": list(written.grid.shape), "dtype": str(written.values.dtype)}


def _line(facts: dict[str, object]) -> str:
    shape = " x ".join(str(n) for n in facts["shape"])  # type: ignore[attr-defined]
    if facts["kind"] == "image":
        return f"image, {shape} voxels, {facts['dtype']}"
    labels: dict[str, str] = facts["labels"]  # type: ignore[assignment]
    listed = ", ".join(f"{i} {name}".strip() for i, name in list(labels.items())[:8]) or "none"
    more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
    return f"mask, {shape} voxels, labels {listed}{more}"
