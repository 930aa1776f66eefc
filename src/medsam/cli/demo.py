"""`medsam demo`: real images that installed packages carry, segmented with real weights, in one contact sheet."""

from __future__ import annotations

from pathlib import Path

from medsam.cli.flags import Output, Overwrite, ThisTerminal


def demo(
    *, output: Output = Path("demo"), overwrite: Overwrite = False, model: str | None = None, terminal: ThisTerminal
) -> None:
    """Segment six real images of five modalities, make one picture of them, and a project that medsam open shows.

    Args:
        output: Folder for masks, pictures and contact-sheet.png.
        model: Catalog name or weights file; the default model without it.
    """
    from medsam.jobs.demo import run_demo

    sheet = run_demo(output, model, terminal.note, overwrite=overwrite)
    terminal.report(
        {"sheet": str(sheet)}, f"masks and pictures are in {output}/; look at {sheet}, or: medsam open {output}/"
    )
