"""`medsam view`: a slice as a picture with pixel coordinates."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from medsam.cli.flags import FileFlags, IntensityFlags, Output, PlaneFlag, Switch, ThisTerminal
from medsam.jobs.options import FileOptions, IntensityOptions


def view(
    source: Path,
    /,
    *,
    output: Output,
    slice: int | None = None,
    plane: PlaneFlag = None,
    overwrite: Switch = False,
    file: FileFlags = FileOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    terminal: ThisTerminal,
) -> None:
    """Draw a slice with a grid of pixel coordinates, to read a box for medsam segment from.

    Args:
        source: Image file, DICOM folder, or a series of a PACS.
        output: Picture to write (.png).
        slice: Which slice, from 0; the middle one without it.
        overwrite: Replace a picture that exists.
    """
    from medsam.jobs.view import ViewRequest
    from medsam.jobs.view import view as run

    drawn = run(
        ViewRequest(
            source=source, output=output, slice=slice, plane=plane, file=file, intensity=intensity, overwrite=overwrite
        )
    )
    line = f"{output}: slice {drawn.slice} of {drawn.depth}, {drawn.width} x {drawn.height} pixels (width x height)"
    terminal.report({"output": str(output), **asdict(drawn)}, line)
