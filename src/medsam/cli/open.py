"""`medsam open`: the page in a browser, on a server of its own."""

from __future__ import annotations

from pathlib import Path

from medsam.cli.flags import FileFlags, IntensityFlags, ModelFlags, Switch, ThisTerminal
from medsam.jobs.options import FileOptions, IntensityOptions, ModelOptions


def open_(
    source: str = ".",
    /,
    *,
    port: int = 8421,
    no_browser: Switch = False,
    cache: Path | None = None,
    file: FileFlags = FileOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    model: ModelFlags = ModelOptions(),
    terminal: ThisTerminal,
) -> None:
    """Open a scan, a folder of scans or a project in the browser: draw, correct, export.

    Example: medsam open study/

    Args:
        source: A project, a folder, a DICOM series or a scan, or a series of a PACS
            (dicomweb://host/dicom-web/studies/.../series/...); a project is made beside what is none, and for a PACS
            in the present folder.
        port: Where the page is; keep it the same, for what a browser keeps for a server that went away belongs to its port.
        no_browser: Only print the address.
        cache: Folder of embeddings, which the command may share; in the project without it.
    """
    import webbrowser

    import medsam
    from medsam.cli.serve import serve_project
    from medsam.errors import MissingDependencyError

    if not (Path(medsam.__file__).parent / "server" / "static" / "index.html").is_file():
        raise MissingDependencyError(
            "the page is not built", expected="an installed wheel, or a checkout after make page", fix="run make page"
        )

    def show(address: str) -> None:
        terminal.answer({"address": address}, address)
        if not no_browser:
            webbrowser.open(address)

    serve_project(source, show, port=port, cache=cache, file=file, intensity=intensity, model=model, note=terminal.note)
