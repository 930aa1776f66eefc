"""`medsam models`: which models there are and which are here; fetch, verify, import and convert weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from medsam.models.manifest import Manifest

app = App(name="models", help="List, fetch, verify, import and convert models.", help_format="plaintext")


@app.command(name="list")
def list_models(*, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """List the models by name, and whether they are on this machine.

    Parameters
    ----------
    json
        Print JSON for programs in place of a table.
    """
    import json as writer

    from medsam.models.catalog import CATALOG, DEFAULT, cached, own_models, settings

    rows = []
    for name, entry in CATALOG.items():
        rows.append(_row(entry.manifest, cached(name), entry.size) | {"description": entry.description})
    for name, manifest in own_models().items():
        rows.append(_row(manifest, cached(name), None) | {"name": name, "description": "imported"})
    if json:
        print(writer.dumps(rows, indent=2))
        return
    _print_table(rows)
    print(
        f"\nDefault: {DEFAULT}. Cache folder: {settings().folder}. Without --model, medsam fetches the default itself."
    )


def _row(manifest: Manifest, path: Path | None, size: int | None) -> dict[str, str | int | None]:
    return {
        "name": manifest.name,
        "cached": str(path) if path else None,
        "bytes": path.stat().st_size if path else size,
        "architecture": manifest.architecture,
        "prompts": ", ".join(manifest.prompts),
        "frame": f"{manifest.frame_size} {manifest.fit} {manifest.scaling}",
        "licence": manifest.licence,
        "sha256": manifest.sha256,
    }


def _print_table(rows: list[dict[str, str | int | None]]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 180)
    roomy = console.width >= 150
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "here", "MB", "prompts", "frame", "licence", *(["what it is"] if roomy else [])):
        narrow = column in ("name", "here", "MB")
        table.add_column(column, no_wrap=narrow, justify="right" if column == "MB" else "left")
    for row in rows:
        size = row["bytes"]
        cells = [
            str(row["name"]),
            "yes" if row["cached"] else "no",
            f"{size / 1e6:.0f}" if isinstance(size, int) else "?",
            str(row["prompts"]),
            str(row["frame"]),
            str(row["licence"] or "not stated"),
        ]
        table.add_row(*cells, *([str(row["description"])] if roomy else []))
    console.print(table)


@app.command
def fetch(*names: str) -> None:
    """Fetch models into the cache folder; the default model without a name.

    Parameters
    ----------
    names
        Catalog names; see medsam models list.
    """
    from medsam.models.catalog import CATALOG, DEFAULT, cached, unknown
    from medsam.models.catalog import fetch as fetch_model

    for name in names:
        if name not in CATALOG:
            raise unknown(name)
    for name in names or (DEFAULT,):
        there = cached(name)
        path = fetch_model(name) if there else _fetch_with_bar(name)
        print(f"{name}: {'already here' if there else 'fetched'}, {path}")


def _fetch_with_bar(name: str) -> Path:
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from medsam.models.catalog import CATALOG
    from medsam.models.catalog import fetch as fetch_model

    if not sys.stderr.isatty():
        return fetch_model(name)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=CATALOG[name].size)
        return fetch_model(name, progress=lambda done, total: bar.update(task, completed=done, total=total))


@app.command
def verify(model: str | None = None) -> int:
    """Check weights: their hash against what is published, and every tensor against the network.

    Parameters
    ----------
    model
        A name or a weights file; everything that is on this machine without it.
    """
    from medsam.errors import MedsamError
    from medsam.models.catalog import CATALOG, cached, own_models

    if model is not None:
        print(_verified(model))
        return 0
    names = [name for name in [*CATALOG, *own_models()] if cached(name)]
    failed = 0
    for name in names:
        try:
            print(_verified(name))
        except MedsamError as error:
            failed += 1
            print(f"{name}: FAILED, {error}")
    return 1 if failed else 0


def _verified(model: str) -> str:
    from medsam.models.catalog import CATALOG, cached, resolve
    from medsam.models.catalog import verify as verify_name
    from medsam.models.checkpoint import inspect_checkpoint, load_checkpoint

    if model in CATALOG or cached(model):
        verify_name(model)
    path, manifest = resolve(model)
    _, manifest = load_checkpoint(path, manifest)
    found = inspect_checkpoint(path)
    return (
        f"{model}: good, {found.tensors} tensors of {found.architecture}, layout {found.layout}, "
        f"sha256 {found.sha256}, input {manifest.frame_size} {manifest.fit} {manifest.scaling}"
    )


@app.command(name="import")
def import_weights(
    path: Path,
    /,
    *,
    name: str,
    like: str | None = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Add your own weights to the cache folder, so that --model NAME works.

    Parameters
    ----------
    path
        .pth, .pt, .bin, .ckpt or .safetensors file, or a folder of transformers' SamModel.
    name
        What to call them.
    like
        The catalog model whose pre-processing they were trained with; needed where the file does not tell.
    replace
        Replace weights imported under this name before.
    """
    import dataclasses

    from medsam.errors import ModelUnavailableError
    from medsam.models.catalog import CATALOG, own_file
    from medsam.models.checkpoint import load_checkpoint, save_checkpoint

    target = own_file(name)
    if target is None or name in CATALOG:
        raise ModelUnavailableError(
            f"the name {name!r}",
            expected="letters, digits, dot, dash and underscore, and no catalog name",
            fix="choose another",
        )
    if target.exists() and not replace:
        raise ModelUnavailableError(
            f"{name} is there already", expected="a new name", fix="choose one or add --replace"
        )
    model, manifest = load_checkpoint(path, _like(like, path))
    licence = manifest.licence if like is None else None
    written = save_checkpoint(model, dataclasses.replace(manifest, name=name, licence=licence), target)
    print(f"{name}: {manifest.architecture}, {written.frame_size} {written.fit} {written.scaling}, {target}")


@app.command
def convert(
    source: str,
    target: Path,
    /,
    *,
    layout: Literal["flat", "safetensors", "hf"] | None = None,
    like: str | None = None,
    half: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write weights in another layout.

    Parameters
    ----------
    source
        A name, a weights file, or a folder of transformers' SamModel.
    target
        NAME.pth, NAME.safetensors, or a new folder for hf.
    layout
        flat (SAM's and MedSAM's own), safetensors, or hf (SamModel.from_pretrained); by the suffix without it.
    like
        The catalog model whose pre-processing the weights were trained with; needed where the file does not tell.
    half
        Keep them in float16, half the size.
    """
    from medsam.errors import OutputError
    from medsam.models.catalog import resolve
    from medsam.models.checkpoint import SaveLayout, load_checkpoint, save_checkpoint

    by_suffix: dict[str, SaveLayout] = {".pth": "flat", ".pt": "flat", ".safetensors": "safetensors", "": "hf"}
    chosen = layout or by_suffix.get(target.suffix)
    if chosen is None:
        raise OutputError(f"the suffix of {target.name}", expected=".pth, .safetensors or a folder", fix="add --layout")
    pattern = _like(like, Path(source))
    path, manifest = (Path(source), pattern) if pattern else resolve(source)
    model, manifest = load_checkpoint(path, manifest)
    card = card_of_run(path) if chosen == "hf" else ""
    written = save_checkpoint(model, manifest, target, chosen, half=half, card=card)
    print(f"{target}: {chosen}, {written.architecture}, sha256 {written.sha256}")


def card_of_run(weights: Path) -> str:
    """The model card that a run wrote beside its result; nothing of other files."""
    card = weights.parent / "README.md"
    by_run = weights.name == "model.safetensors" and (weights.parent / "metrics.jsonl").is_file()
    return card.read_text(encoding="utf-8", errors="replace") if by_run and card.is_file() else ""


def _like(name: str | None, path: Path) -> Manifest | None:
    """The manifest of a catalog model or imported weights, made out to another file."""
    if name is None:
        return None
    import dataclasses

    from medsam.models.catalog import CATALOG, own_models, unknown

    known = {**{n: entry.manifest for n, entry in CATALOG.items()}, **own_models()}
    if name not in known:
        raise unknown(name)
    return dataclasses.replace(known[name], name=path.stem, sha256=None, licence=None)


@app.command
def export(source: str, target: Path, /) -> None:
    """Write a model as graphs for ONNX Runtime (.onnx) or OpenVINO (.xml), in fp32.

    Parameters
    ----------
    source
        A name or a weights file.
    target
        NAME.onnx or NAME.xml; the decoder and the manifest are laid beside it.
    """
    from medsam.export.graphs import export_model

    for path in export_model(source, target):
        print(path)
