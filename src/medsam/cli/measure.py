"""`medsam measure`: volume and RECIST diameters of the objects of a mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medsam.annotation.measure import Measurement
    from medsam.imaging.image import Mask

COLUMNS = (
    "label", "name", "component", "voxels", "volume_mm3", "volume_ml", "long_axis_mm", "short_axis_mm", "slice",
    "position_mm",
)  # fmt: skip


def measure(
    mask: Path,
    /,
    *,
    components: Annotated[bool, Parameter(negative=())] = False,
    plane: Literal["axial", "coronal", "sagittal"] = "axial",
    min_voxels: int = 1,
    spacing: str | None = None,
    reference: Path | None = None,
    volume: int | None = None,
    format: Literal["table", "csv", "json"] | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
) -> None:
    """Measure every label: volume, longest diameter in the plane, the longest perpendicular to it, on which slice.

    Parameters
    ----------
    mask
        Label map in any format that carries a spacing.
    components
        Measure every connected part of a label by itself, largest first.
    plane
        Plane of the diameters.
    min_voxels
        Leave smaller objects out.
    spacing
        z,y,x in mm, for masks that carry none (PNG) or a wrong one.
    reference
        The image the mask belongs to, for formats that need it; a DICOM SEG counts its own slices without it.
    volume
        Which volume of a mask file that holds several, from 0.
    format
        table, csv or json; by the suffix of the output, or a table, without it.
    output
        File to write; without it the result is printed.
    """
    import sys
    from dataclasses import replace

    from medsam.annotation.measure import measure as run
    from medsam.cli.outputs import refuse_overwriting
    from medsam.io.atomic import replacing
    from medsam.io.formats import format_of, read_mask

    refuse_overwriting([output], [mask, reference])
    labels = read_mask(mask, reference=reference, volume=volume)
    if reference is None and format_of(mask).name.startswith("dicom"):
        print("slices count from the first one of the SEG itself; --reference counts in its series", file=sys.stderr)
    rows = run(_spaced(labels, spacing), components=components, plane=plane, min_voxels=min_voxels)
    if spacing is not None:  # the place of the slices is not known then
        rows = [replace(row, position_mm=None) for row in rows]
    by_suffix = {".csv": "csv", ".json": "json"}.get(output.suffix.lower(), "table") if output else "table"
    text = {"table": _table, "csv": _csv, "json": _json}[format or by_suffix](rows)
    if output is None:
        print(text, end="")
        return
    with replacing(output) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _spaced(mask: Mask, spacing: str | None) -> Mask:
    from dataclasses import replace

    from medsam.errors import GeometryError
    from medsam.imaging.image import Grid

    if spacing is None:
        return mask
    try:
        z, y, x = (float(part) for part in spacing.split(","))
    except ValueError:
        raise GeometryError(
            f"spacing is {spacing!r}", expected="three mm z,y,x", fix="pass --spacing 5,0.8,0.8"
        ) from None
    return replace(mask, grid=Grid(mask.grid.shape, spacing_mm=(z, y, x)))


def _cells(row: Measurement) -> list[str]:
    return [
        str(row.label), row.name or "", str(row.component or ""), str(row.voxels), f"{row.volume_mm3:.1f}",
        f"{row.volume_ml:.3f}", f"{row.long_axis_mm:.1f}", f"{row.short_axis_mm:.1f}", str(row.slice),
        "" if row.position_mm is None else f"{row.position_mm:.1f}",
    ]  # fmt: skip


def _table(rows: Sequence[Measurement]) -> str:
    lines = [list(COLUMNS), *map(_cells, rows)]
    kept = [i for i in range(len(COLUMNS)) if any(line[i] for line in lines[1:])]
    widths = [max(len(line[i]) for line in lines) for i in kept]
    return "".join(
        "  ".join(line[i].rjust(width) for i, width in zip(kept, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def _csv(rows: Sequence[Measurement]) -> str:
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *map(_cells, rows)])
    return text.getvalue()


def _json(rows: Sequence[Measurement]) -> str:
    import json
    from dataclasses import asdict

    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"
