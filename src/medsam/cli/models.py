"""`medsam models`: which models there are and which are here; fetch, verify, import and convert weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from medsam.cli.flags import Overwrite, Switch, ThisTerminal

if TYPE_CHECKING:
    from medsam.models.weights.manifest import Manifest

app = App(name="models", help="List, fetch, verify, import and convert models.", help_format="plaintext")


@app.command(name="list")
def list_models(*, terminal: ThisTerminal) -> None:
    """List the models by name, and whether they are on this machine.

    Example: medsam models list
    """
    from medsam.models.weights.catalog import CATALOG, DEFAULT, find_cached, list_own_models, read_settings

    rows = []
    for name, entry in CATALOG.items():
        rows.append(_row(entry.manifest, find_cached(name), entry.size) | {"description": entry.description})
    for name, manifest in list_own_models().items():
        rows.append(_row(manifest, find_cached(name), None) | {"name": name, "description": "imported"})
    end = f"Default: {DEFAULT}. Cache folder: {read_settings().folder}. Without --model, medsam fetches the default itself."

    def say() -> None:
        _print_table(rows)
        print(f"\n{end}")

    terminal.answer(rows, say)


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
def fetch(*names: str, terminal: ThisTerminal) -> None:
    """Fetch models into the cache folder; the default model without a name.

    Example: medsam models fetch lite-medsam

    Args:
        names: Catalog names; see medsam models list.
    """
    from medsam.models.weights.catalog import CATALOG, DEFAULT, explain_unknown_model, find_cached
    from medsam.models.weights.catalog import fetch as fetch_model

    for name in names:
        if name not in CATALOG:
            raise explain_unknown_model(name)
    fetched, lines = [], []
    for name in names or (DEFAULT,):
        there = find_cached(name)
        with terminal.progress(f"fetching {name}", in_bytes=True) as progress:
            path = fetch_model(name, progress=progress or (lambda _done, _total: None))
        fetched.append({"name": name, "path": str(path), "fetched": not there})
        lines.append(f"{name}: {'already here' if there else 'fetched'}, {path}")
    terminal.report(fetched, "\n".join(lines))


@app.command
def verify(model: str | None = None, *, terminal: ThisTerminal) -> int:
    """Check weights: their hash against what is published, and every tensor against the network.

    Example: medsam models verify lite-medsam

    Args:
        model: A name or a weights file; everything that is on this machine without it.
    """
    from medsam.errors import MedsamError
    from medsam.models.weights.catalog import CATALOG, find_cached, list_own_models

    if model is not None:
        line = _verified(model)
        terminal.answer([{"model": model, "good": True, "text": line}], line)
        return 0
    names = [name for name in [*CATALOG, *list_own_models()] if find_cached(name)]
    rows = []
    for name in names:
        try:
            rows.append({"model": name, "good": True, "text": _verified(name)})
        except MedsamError as error:
            rows.append({"model": name, "good": False, "text": f"{name}: FAILED, {error}"})
    terminal.answer(rows, "".join(f"{row['text']}\n" for row in rows))
    return 0 if all(row["good"] for row in rows) else 1


def _verified(model: str) -> str:
    from medsam.models.weights.catalog import CATALOG, find_cached, resolve
    from medsam.models.weights.catalog import verify as verify_name
    from medsam.models.weights.checkpoint import inspect_checkpoint, load_checkpoint

    if model in CATALOG or find_cached(model):
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
    replace: Switch = False,
    terminal: ThisTerminal,
) -> None:
    """Add your own weights to the cache folder, so that --model NAME works.

    Example: medsam models import my.pth --name mine --like medsam-vit-b

    Args:
        path: .pth, .pt, .bin, .ckpt or .safetensors file, or a folder of transformers' SamModel.
        name: What to call them.
        like: The catalog model whose pre-processing they were trained with; needed where the file does not tell.
        replace: Replace weights imported under this name before.
    """
    import dataclasses

    from medsam.models.weights.catalog import resolve
    from medsam.models.weights.checkpoint import load_checkpoint, save_checkpoint

    target = _free_name(name, replace=replace)
    model, manifest = load_checkpoint(path, resolve(path, like=like)[1] if like else None)
    licence = manifest.licence if like is None else None
    written = save_checkpoint(model, dataclasses.replace(manifest, name=name, licence=licence), target)
    line = f"{name}: {manifest.architecture}, {written.frame_size} {written.fit} {written.scaling}, {target}"
    terminal.report({"name": name, "architecture": manifest.architecture, "path": str(target)}, line)


@app.command
def average(
    sources: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    name: str,
    weights: str | None = None,
    replace: Switch = False,
    terminal: ThisTerminal,
) -> None:
    """Average the weights of several models into one of your own, with a card that names its parts.

    Example: medsam models average openmedsam-lite mine --name halfway

    Args:
        sources: Two or more names or weights files of one architecture and one pre-processing.
        name: What to call the mean; --model NAME then takes it.
        weights: The share of each as numbers joined by commas, such as 0.5,0.5; equal shares without it.
        replace: Replace weights imported or averaged under this name before.
    """
    from medsam.files.atomic import write_text
    from medsam.models.weights.average import average_weights, describe_average
    from medsam.models.weights.catalog import resolve
    from medsam.models.weights.checkpoint import save_checkpoint

    target = _free_name(name, replace=replace)
    model, manifest, parts = average_weights([resolve(source) for source in sources], _numbers(weights), name=name)
    written = save_checkpoint(model, manifest, target)
    card = target.with_suffix(".md")
    write_text(card, describe_average(written, parts))
    shares = ", ".join(f"{part.share:.3g} {part.manifest.name}" for part in parts)
    answer = {"name": name, "path": str(target), "card": str(card)}
    terminal.report(answer, f"{name}: {shares}; {target}, card {card}")


def _numbers(text: str | None) -> list[float] | None:
    from medsam.errors import CheckpointError

    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise CheckpointError(
            f"the shares are {text!r}", expected="numbers joined by commas", fix="give them as --weights 0.5,0.5"
        ) from None


def _free_name(name: str, *, replace: bool) -> Path:
    from medsam.errors import ModelUnavailableError
    from medsam.models.weights.catalog import CATALOG, locate_own_file

    target = locate_own_file(name)
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
    return target


@app.command
def convert(
    source: str,
    target: Path,
    /,
    *,
    layout: Literal["flat", "safetensors", "hf"] | None = None,
    like: str | None = None,
    half: Switch = False,
    overwrite: Overwrite = False,
    terminal: ThisTerminal,
) -> None:
    """Write weights in another layout.

    Example: medsam models convert lite-medsam lite.safetensors

    Args:
        source: A name, a weights file, or a folder of transformers' SamModel.
        target: NAME.pth, NAME.safetensors, or a new folder for hf.
        layout: flat (SAM's and MedSAM's own), safetensors, or hf (SamModel.from_pretrained); by the suffix without it.
        like: The catalog model whose pre-processing the weights were trained with; needed where the file does not tell.
        half: Keep them in float16, half the size.
    """
    from medsam.errors import OutputError
    from medsam.jobs.outputs import check_outputs
    from medsam.models.weights.catalog import resolve
    from medsam.models.weights.checkpoint import SaveLayout, load_checkpoint, save_checkpoint

    by_suffix: dict[str, SaveLayout] = {".pth": "flat", ".pt": "flat", ".safetensors": "safetensors", "": "hf"}
    chosen = layout or by_suffix.get(target.suffix)
    if chosen is None:
        raise OutputError(f"the suffix of {target.name}", expected=".pth, .safetensors or a folder", fix="add --layout")
    path, manifest = resolve(source, like=like)
    check_outputs([target], [path], overwrite=overwrite)
    model, manifest = load_checkpoint(path, manifest)
    card = read_card_of_run(path) if chosen == "hf" else ""
    written = save_checkpoint(model, manifest, target, chosen, half=half, card=card)
    facts = {"layout": chosen, "architecture": written.architecture, "sha256": written.sha256}
    line = f"{target}: {chosen}, {written.architecture}, sha256 {written.sha256}"
    terminal.report({"path": str(target), **facts}, line)


def read_card_of_run(weights: Path) -> str:
    """The model card that a run wrote beside its result; nothing of other files."""
    card = weights.parent / "README.md"
    by_run = weights.name == "model.safetensors" and (weights.parent / "metrics.jsonl").is_file()
    return card.read_text(encoding="utf-8", errors="replace") if by_run and card.is_file() else ""


@app.command
def export(source: str, target: Path, /, *, overwrite: Overwrite = False, terminal: ThisTerminal) -> None:
    """Write a model as graphs for ONNX Runtime (.onnx) or OpenVINO (.xml), in fp32.

    Example: medsam models export lite-medsam lite.onnx

    Args:
        source: A name or a weights file.
        target: NAME.onnx or NAME.xml; the decoder and the manifest are laid beside it.
    """
    from medsam.inference.runtimes.export import export_model
    from medsam.jobs.outputs import check_outputs

    check_outputs([target], [source], overwrite=overwrite)
    paths = [str(path) for path in export_model(source, target)]
    terminal.report(paths, "\n".join(paths))
