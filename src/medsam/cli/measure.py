"""`medsam measure`: volume and RECIST diameters of the objects of a mask."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from medsam.cli.flags import FileFlags, Switch, ThisTerminal
from medsam.jobs.options import FileOptions


def measure(
    mask: Path,
    /,
    *,
    components: Switch = False,
    plane: Literal["axial", "coronal", "sagittal"] = "axial",
    min_voxels: int = 1,
    spacing: str | None = None,
    reference: Path | None = None,
    format: Literal["table", "csv", "json"] | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    overwrite: Switch = False,
    file: FileFlags = FileOptions(),
    terminal: ThisTerminal,
) -> None:
    """Measure every label: volume, longest diameter in the plane, the longest perpendicular to it, on which slice.

    Args:
        mask: Label map in any format that carries a spacing, or a segmentation in a PACS.
        components: Measure every connected part of a label by itself, largest first.
        plane: Plane of the diameters.
        min_voxels: Leave smaller objects out.
        spacing: z,y,x in mm, for masks that carry none or a wrong one; y,x for a picture (PNG), which then has areas.
        reference: The image the mask belongs to, for formats that need it; a DICOM SEG counts its own slices without it.
        format: table, csv or json; by the suffix of the output, or a table, without it.
        output: File to write; without it the result is printed.
        overwrite: Replace an output that exists.
    """
    from medsam.jobs.measure import MeasureRequest, render_rows
    from medsam.jobs.measure import measure as run

    rows = run(
        MeasureRequest(
            mask=mask, output=output, format=format, components=components, plane=plane, min_voxels=min_voxels,
            spacing=spacing, reference=reference, file=file, overwrite=overwrite,
        )
    )  # fmt: skip
    if output is None or terminal.json:
        terminal.answer([asdict(row) for row in rows], render_rows(rows, format or "table"))
