"""The objects of a mask file measured, in a table, CSV or JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from medsam.annotation.measure import Measurement
from medsam.annotation.measure import measure as measure_mask
from medsam.errors import GeometryError
from medsam.files.atomic import write_text
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import detect_format, read_mask
from medsam.io.text import format_rows
from medsam.jobs.inputs import local_path, read_grid
from medsam.jobs.options import FileOptions, Plane
from medsam.jobs.outputs import check_outputs

log = logging.getLogger("medsam")
COLUMNS = (
    "label", "name", "component", "voxels", "volume_mm3", "volume_ml", "long_axis_mm", "short_axis_mm", "slice",
    "position_mm", "area_mm2",
)  # fmt: skip


@dataclass(frozen=True)
class MeasureRequest:
    """What to measure.

    Args:
        mask: File, or address of a segmentation in a PACS.
        output: File for the result; None writes none.
        format: Of the output; by its suffix without it.
        components: Whether every connected part is measured by itself.
        plane: Of the diameters.
        min_voxels: Smaller objects are left out.
        spacing: z,y,x in mm, or y,x for a mask of one slice.
        reference: The image that the mask belongs to.
        file: Which volume of the mask file, and which series of the reference.
        overwrite: Whether an output that exists is replaced.
    """

    mask: Path
    output: Path | None = None
    format: Literal["table", "csv", "json"] | None = None
    components: bool = False
    plane: Plane = "axial"
    min_voxels: int = 1
    spacing: str | None = None
    reference: Path | None = None
    file: FileOptions = FileOptions()
    overwrite: bool = False


def measure(request: MeasureRequest) -> list[Measurement]:
    """Measure every object and write the output, where one was asked for.

    Raises:
        MedsamError: a mask that cannot be read, or one without a spacing.
    """
    check_outputs([request.output], [request.mask, request.reference], overwrite=request.overwrite)
    mask = _read(request)
    areas = request.spacing is not None and request.spacing.count(",") == 1
    labels = mask if request.spacing is None else replace(mask, grid=_spaced(mask.grid, request.spacing))
    rows = measure_mask(labels, components=request.components, plane=request.plane, min_voxels=request.min_voxels)
    if request.spacing is not None:  # the place of the slices is not known then
        rows = [replace(row, position_mm=None) for row in rows]
    if areas:
        rows = [replace(row, area_mm2=row.volume_mm3, volume_mm3=None, volume_ml=None) for row in rows]
    if request.output is not None:
        by_suffix = {".csv": "csv", ".json": "json"}.get(request.output.suffix.lower(), "table")
        write_text(request.output, render_rows(rows, request.format or by_suffix))
    return rows


def _read(request: MeasureRequest) -> Mask:
    file = request.file
    with local_path(request.mask) as path:
        if request.reference is None:
            mask = read_mask(path, volume=file.volume)
            if detect_format(path).name.startswith("dicom"):
                log.warning("slices count from the first one of the SEG itself; --reference counts in its series")
            return mask
        return read_mask(path, reference=read_grid(request.reference, file), volume=file.volume)


def _spaced(grid: Grid, spacing: str) -> Grid:
    """The grid with a spacing of z,y,x, or of y,x where it holds one slice of unknown thickness."""
    try:
        numbers = tuple(float(part) for part in spacing.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) == 2 and grid.shape[0] == 1:
        numbers = (1.0, *numbers)
    if len(numbers) != 3:
        raise GeometryError(
            f"spacing is {spacing!r} for {grid.shape[0]} slices",
            expected="three mm z,y,x, or two mm y,x for one slice",
            fix="pass --spacing 5,0.8,0.8",
        )
    return Grid(grid.shape, spacing_mm=(numbers[0], numbers[1], numbers[2]))


def render_rows(rows: Sequence[Measurement], format: str) -> str:
    """Give measurements as text: "table", "csv" or "json"."""
    if format == "json":
        return json.dumps([asdict(row) for row in rows], indent=1) + "\n"
    lines = [list(COLUMNS), *map(_cells, rows)]
    if format == "csv":
        return format_rows(lines)
    kept = [i for i in range(len(COLUMNS)) if any(line[i] for line in lines[1:])]
    widths = [max(len(line[i]) for line in lines) for i in kept]
    return "".join(
        "  ".join(line[i].rjust(width) for i, width in zip(kept, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def _cells(row: Measurement) -> list[str]:
    return [
        str(row.label), row.name or "", str(row.component or ""), str(row.voxels), _number(row.volume_mm3, 1),
        _number(row.volume_ml, 3), f"{row.long_axis_mm:.1f}", f"{row.short_axis_mm:.1f}", str(row.slice),
        _number(row.position_mm, 1), _number(row.area_mm2, 2),
    ]  # fmt: skip


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
