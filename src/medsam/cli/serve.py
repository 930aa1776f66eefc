"""`medsam serve`: a project and the model over HTTP, for viewers on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from medsam.cli.flags import EngineFlags, FileFlags, IntensityFlags, ModelFlags, ThisTerminal
from medsam.jobs.options import EngineOptions, FileOptions, IntensityOptions, ModelOptions

app = App(
    name="serve", help="Serve scans and the model over HTTP; token makes and revokes tokens.", help_format="plaintext"
)
token = App(
    name="token", help="Tokens that open a server which others reach: new, list, revoke.", help_format="plaintext"
)
app.command(token)
TokenFile = Annotated[
    Path | None, Parameter(help="Where tokens are kept, as hashes, mode 600; ~/.config/medsam/tokens without it.")
]


@token.command
def new(
    name: str, /, *, role: Literal["read", "annotate", "admin"] = "annotate", token_file: TokenFile = None,
    terminal: ThisTerminal,
) -> None:  # fmt: skip
    """Make a token for somebody and print it; nothing but its hash is kept, so it is shown this once.

    Example: medsam serve token new ana --role annotate

    Args:
        name: Whose it is; saves go in this name's line of states.
        role: read looks; annotate also draws, prompts and adds scans; admin also sees metrics and everybody's times.
    """
    from medsam.server.tokens import default_token_file, new_token

    made = new_token(token_file or default_token_file(), name, role)
    terminal.answer({"name": name, "role": role, "token": made}, made)


@token.command(name="list")
def list_(*, token_file: TokenFile = None, terminal: ThisTerminal) -> None:
    """List whose tokens there are, and their roles.

    Example: medsam serve token list
    """
    from medsam.server.tokens import default_token_file, read_tokens

    holders = sorted(read_tokens(token_file or default_token_file()).values(), key=lambda one: one.name)
    rows = [{"name": one.name, "role": one.role} for one in holders]
    terminal.answer(rows, "\n".join(f"{one.name:20} {one.role}" for one in holders))


@token.command
def revoke(name: str, /, *, token_file: TokenFile = None, terminal: ThisTerminal) -> None:
    """Revoke the tokens of somebody; a server that runs refuses them from then on.

    Example: medsam serve token revoke ana

    Args:
        name: Whose they are.
    """
    from medsam.server.tokens import default_token_file, revoke_token

    count = revoke_token(token_file or default_token_file(), name)
    terminal.report({"name": name, "revoked": count}, f"{count} revoked")


@app.default
def serve(
    source: str = ".",
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    allow_host: list[str] | None = None,
    cache: Path | None = None,
    pacs: str | None = None,
    file: FileFlags = FileOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    model: ModelFlags = ModelOptions(),
    engine: EngineFlags = EngineOptions(),
    terminal: ThisTerminal,
) -> None:
    """Serve a project, a folder of scans or one scan over HTTP: to the page, to viewers and to programs.

    Example: medsam serve study/

    Args:
        source: A project, a folder, a DICOM series or a scan, or a series of a PACS
            (dicomweb://host/dicom-web/studies/.../series/...); a project is made beside what is none, and for a PACS
            in the present folder.
        host: Where to listen; another than loopback needs --token-file, and TLS in front (docs/server.md).
        port: 0 takes a free one.
        token_file: From medsam serve token new: a line for each token, NAME sha256:HEX ROLE; mode 600.
        allow_host: Further names that the server may be asked under, as behind a proxy.
        cache: Folder of embeddings, which the command may share; in the project without it.
        pacs: dicomweb://host:port/dicom-web: its series can be added as cases, and masks are stored there.
    """
    serve_project(
        source, lambda address: terminal.answer({"address": address}, address), host=host, port=port,
        token_file=token_file, allow_host=allow_host or [], cache=cache, pacs=pacs, file=file, intensity=intensity, model=model, engine=engine,
        note=terminal.note,
    )  # fmt: skip


def serve_project(
    source: str, tell: Callable[[str], None], *, port: int, cache: Path | None, file: FileOptions,
    intensity: IntensityOptions, model: ModelOptions, note: Callable[[str], None], host: str = "127.0.0.1",
    token_file: Path | None = None, allow_host: Sequence[str] = (), engine: EngineOptions = EngineOptions(),
    pacs: str | None = None,
) -> None:  # fmt: skip
    """Serve until interrupted; what serve and open share.

    Args:
        tell: Called with the address, once it is listened at.
        note: Called with a line for each scan that cannot be added.

    Raises:
        MedsamError: an extra, a project, a model or a port that cannot be had.
    """
    from medsam.errors import MissingDependencyError

    try:
        from medsam.server.app import create_app
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{error.name} is not installed", expected="the extra serve", fix="pip install 'openmedsam[serve]'"
        ) from None
    from medsam.io.dicom.pacs_address import parse_address
    from medsam.jobs.serve import open_for_serving
    from medsam.server.listen import choose_tokens, listen
    from medsam.server.settings import LOOPBACK, ServerSettings

    if pacs is not None:
        parse_address(pacs)  # a wrong one is refused before anything is opened
    tokens, followed, token = choose_tokens(host, token_file)
    project, folder = open_for_serving(source, file, intensity, note)
    with project:
        hosts = LOOPBACK | {host.lower(), *(name.lower() for name in allow_host)}
        settings = ServerSettings(
            folder, tokens, token_file=followed, hosts=hosts, cache=cache, modality=intensity.modality,
            window=intensity.window, pacs=pacs,
        )  # fmt: skip
        app = create_app(project, model.load(engine), settings)
        listen(app, host, port, tell, token)
