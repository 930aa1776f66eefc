"""Load and save weights: every layout MedSAM and SAM are passed around in, never running code a file brings along."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from medsam.errors import CheckpointError, MedsamError, OutputError
from medsam.files.atomic import replacing
from medsam.models.networks.architecture import LIGHT, Architecture
from medsam.models.networks.medsam import FRAME_SIZES, MedSAM, build
from medsam.models.weights.file import (
    MANIFEST_KEY,
    detect_kind,
    digest,
    locate_sidecar,
    read_header,
    read_sidecar,
    write_sidecar,
)
from medsam.models.weights.key_names import Layout, check_names, detect_architecture, unwrap
from medsam.models.weights.key_names_hub import from_hub, make_hub_config, make_hub_processor, parse_processor, to_hub
from medsam.models.weights.manifest import Manifest
from medsam.models.weights.published import PUBLISHED, find_published_by_hash
from medsam.models.weights.safe_load import find_weights, load_pickle, load_safetensors

SaveLayout = Literal["safetensors", "flat", "hf"]
HUB_LICENCES = {  # those that weights and data of this field come with
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "cc0-1.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-4.0",
}  # fmt: skip
_SUFFIXES = {"safetensors": (".safetensors",), "flat": (".pth", ".pt"), "hf": ("",)}


@dataclass(frozen=True)
class Inspection:
    """What a weights file is.

    Args:
        path: As given, a file or a folder.
        layout: How its tensors are wrapped and named.
        architecture: Its image encoder.
        tensors: How many.
        size: Bytes of the weights file.
        sha256: Of the weights file.
        manifest: What loading it would bind to it; None where that cannot be told.
        problem: Why not.
    """

    path: Path
    layout: Layout
    architecture: Architecture
    tensors: int
    size: int
    sha256: str
    manifest: Manifest | None
    problem: MedsamError | None = None

    def require_manifest(self) -> Manifest:
        """The manifest, or the error that says why there is none and what to do."""
        if self.manifest is None:
            raise self.problem or _ask(self.path, self.architecture)
        return self.manifest


@dataclass(frozen=True, eq=False)
class _Opened:
    """A weights file with its tensors under flat names, not yet held to a network."""

    path: Path
    weights: Path
    layout: Layout
    architecture: Architecture
    tensors: dict[str, Tensor]
    told: Manifest | None


def load_checkpoint(path: str | Path, manifest: Manifest | None = None) -> tuple[MedSAM, Manifest]:
    """Load weights of any layout into a network, strictly.

    Args:
        path: .pth, .pt, .bin, .ckpt or .safetensors file, or a folder of transformers' SamModel.
        manifest: What to bind to it; without it the one it carries, has beside it, or is known by.

    Returns:
        The network in evaluation mode on the CPU, and its manifest with the file's sha256.

    Raises:
        CheckpointError: unreadable, unsafe, another file than the manifest's, missing or surplus tensors, weights that
            are not finite, or pre-processing that cannot be told.
    """
    opened = _open(Path(path))
    sha256 = digest(opened.weights)
    bound = _bind(opened, sha256) if manifest is None else _hold(opened, sha256, manifest)
    network = build(opened.architecture, initialise=False, frame_size=bound.frame_size)
    wanted = network.state_dict()
    check_names(opened.tensors, wanted, path)
    _check_finite(opened)
    network.load_state_dict(opened.tensors, strict=True)
    return network, bound


def inspect_checkpoint(path: str | Path) -> Inspection:
    """Tell what a weights file is, without building a network.

    Raises:
        CheckpointError: it is no weights file of a SAM-like model.
    """
    opened = _open(Path(path))
    sha256 = digest(opened.weights)
    manifest, problem = None, None
    try:
        manifest = _bind(opened, sha256)
    except CheckpointError as error:
        problem = error
    return Inspection(
        opened.path,
        opened.layout,
        opened.architecture,
        len(opened.tensors),
        opened.weights.stat().st_size,
        sha256,
        manifest,
        problem,
    )


def save_checkpoint(
    model: MedSAM,
    manifest: Manifest,
    path: str | Path,
    layout: SaveLayout = "safetensors",
    *,
    half: bool = False,
    card: str = "",
) -> Manifest:
    """Write a network's weights, whole or not at all.

    Args:
        model: The network.
        manifest: Rides along: in the safetensors header, or beside a .pth as NAME.manifest.json.
        path: NAME.safetensors, NAME.pth, or for "hf" a folder that is new or empty.
        layout: "safetensors"; "flat" as SAM's and MedSAM's release; "hf" for SamModel.from_pretrained.
        half: Keep the weights in float16, half the size; they are float32 again once loaded.
        card: For "hf": a model card in Markdown that goes into the folder's own.

    Returns:
        The manifest with the sha256 of what was written.

    Raises:
        OutputError: a suffix of another layout, no room, a network the layout has no names for, or weights too large
            for float16.
    """
    target = Path(path)
    _check_target(target, layout, manifest)
    tensors = {name: _plain(tensor, half=half) for name, tensor in model.state_dict().items()}
    _check_range(tensors)
    unhashed = replace(manifest, sha256=None)
    if layout == "hf":
        return _save_hub(tensors, unhashed, target, card)
    with replacing(target, what="the weights", readable=True) as temporary:  # safetensors writes for its owner alone
        if layout == "safetensors":
            _save_safetensors(tensors, unhashed, temporary)
        else:
            with _as_os_error():
                torch.save(tensors, temporary)
        written = replace(manifest, sha256=digest(temporary))
    if layout == "flat":
        write_sidecar(target, written)
    return written


def _open(path: Path) -> _Opened:
    weights = find_weights(path)
    told: Manifest | None = None
    if detect_kind(weights) == "safetensors":
        header = read_header(weights)
        told = Manifest.from_json(header.metadata[MANIFEST_KEY]) if MANIFEST_KEY in header.metadata else None
        tensors, layout = unwrap(load_safetensors(weights), path)
        layout = "safetensors" if layout == "flat" else layout
    else:
        tensors, layout = unwrap(load_pickle(weights), path)
    architecture = detect_architecture(tensors, path)
    if layout == "hub":
        with torch.device("meta"):
            names = list(build(architecture, initialise=False).state_dict())
        tensors = from_hub(tensors, names, path)
    if told is None and path.is_dir():
        told = _processor_of(path, architecture)
    return _Opened(path, weights, layout, architecture, tensors, told)


def _bind(opened: _Opened, sha256: str) -> Manifest:
    """The manifest a file carries, has beside it, or is known by; never a guess."""
    if locate_sidecar(opened.path).is_file():
        return _hold(opened, sha256, read_sidecar(opened.path))
    known = find_published_by_hash(sha256)
    if known is not None:
        return known.manifest
    if opened.told is not None:
        return _hold(opened, sha256, opened.told)
    like = {"tiny_vit": "lite-medsam"}.get(opened.architecture)
    if like is None and opened.layout == "training":
        like = "medsam-vit-b"
    if like is None:
        raise _ask(opened.path, opened.architecture)
    pattern = next(entry.manifest for entry in PUBLISHED if entry.name == like)
    return replace(pattern, name=opened.path.stem, architecture=opened.architecture, sha256=sha256, licence=None)


def _ask(path: Path, architecture: Architecture) -> CheckpointError:
    return CheckpointError(
        f"{path} has the names of SAM and of MedSAM ({architecture}), and they want different pre-processing",
        expected="a published file, or weights with a manifest",
        fix=f"say which with medsam models import {path} --name NAME --like medsam-vit-b (or --like sam-vit-b)",
    )


def _hold(opened: _Opened, sha256: str, manifest: Manifest) -> Manifest:
    """Hold a file to a manifest."""
    if manifest.sha256 is not None and manifest.sha256 != sha256:
        raise CheckpointError(
            f"{opened.weights} has sha256 {sha256}",
            expected=f"{manifest.sha256}, as the manifest of {manifest.name} says",
            fix="get the file again; if you changed it on purpose, import it under a name of its own",
        )
    if manifest.architecture != opened.architecture:
        raise CheckpointError(
            f"{opened.path} holds a {opened.architecture}",
            expected=f"a {manifest.architecture}, as the manifest of {manifest.name} says",
            fix="give the manifest of these weights",
        )
    return replace(manifest, sha256=sha256)


def _processor_of(folder: Path, architecture: Architecture) -> Manifest | None:
    try:
        config = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    name = folder.resolve().name
    return parse_processor(config, architecture, name) if isinstance(config, Mapping) else None


def _check_finite(opened: _Opened) -> None:
    bad = [n for n, t in opened.tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if bad:
        raise CheckpointError(
            f"{opened.path} has {len(bad)} tensors with NaN or infinite values ({', '.join(bad[:10])})",
            expected="finite weights",
            fix="take an earlier checkpoint of that training run",
        )


def _check_target(target: Path, layout: SaveLayout, manifest: Manifest) -> None:
    if layout not in _SUFFIXES:
        raise OutputError(f"layout {layout!r}", expected="safetensors, flat or hf", fix="choose one of them")
    if layout == "hf" and manifest.architecture in LIGHT:
        raise OutputError("the hf layout for a TinyViT", expected="a ViT", fix="save it as safetensors or flat")
    if layout == "hf" and manifest.frame_size != FRAME_SIZES[manifest.architecture]:
        raise OutputError(
            f"the hf layout for a frame of {manifest.frame_size} pixels",
            expected=f"{FRAME_SIZES[manifest.architecture]}, which transformers' SamModel has",
            fix="save it as safetensors or flat",
        )
    if layout != "hf" and target.suffix not in _SUFFIXES[layout]:
        raise OutputError(
            f"{target.name} for layout {layout}", expected=f"a name in {_SUFFIXES[layout][0]}", fix="change the suffix"
        )
    if target.is_dir() and (layout != "hf" or any(target.iterdir())):
        raise OutputError(f"{target} is a folder with files in it", expected="a new path", fix="choose another path")


def _plain(tensor: Tensor, *, half: bool) -> Tensor:
    kept = (torch.float16 if half else torch.float32) if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", kept).clone(memory_format=torch.contiguous_format)


def _check_range(tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that float16 cannot hold."""
    bad = [name for name, tensor in tensors.items() if tensor.dtype == torch.float16 and bool(tensor.isinf().any())]
    if bad:
        raise OutputError(
            f"weights beyond float16 in {', '.join(bad[:5])}", expected="at most 65,504", fix="write them in float32"
        )


def _save_safetensors(tensors: dict[str, Tensor], manifest: Manifest, path: Path) -> None:
    from safetensors.torch import save_file

    with _as_os_error():
        save_file(tensors, path, metadata={"format": "pt", MANIFEST_KEY: manifest.to_json()})


@contextmanager
def _as_os_error() -> Iterator[None]:
    """What a disk refuses comes from the writers of tensors as errors of theirs."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        raise OSError(str(error).splitlines()[0][:120]) from error


def _save_hub(tensors: dict[str, Tensor], manifest: Manifest, target: Path, card: str) -> Manifest:
    with replacing(target, what="the weights") as folder:
        folder.mkdir()
        _save_safetensors({to_hub(name): t for name, t in tensors.items()}, manifest, folder / "model.safetensors")
        written = replace(manifest, sha256=digest(folder / "model.safetensors"))
        (folder / "config.json").write_text(
            json.dumps(make_hub_config(manifest.architecture), indent=2) + "\n", "utf-8"
        )
        processor = make_hub_processor(manifest)
        if processor is not None:
            (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n", "utf-8")
        (folder / "README.md").write_text(_card(manifest, card, with_processor=processor is not None), "utf-8")
    return written


def _card(manifest: Manifest, more: str, *, with_processor: bool) -> str:
    """A model card that says how the input must be made, above all where SamProcessor cannot make it."""
    how = (
        "`SamProcessor` makes the right input."
        if with_processor
        else "There is no preprocessor_config.json on purpose: `SamProcessor` cannot make this input. "
        f"Resize to {manifest.frame_size} x {manifest.frame_size} ({manifest.fit}, {manifest.interpolation}), "
        f"scale by {manifest.scaling}, and give it as `pixel_values`."
    )
    head = f"---\n{_licence(manifest.licence)}library_name: transformers\n---\n"
    told = re.sub(r"^`\{.*\}`$", "", more, flags=re.MULTILINE).strip()  # the manifest of the file it was written for
    return f"{head}\n{told or f'# {manifest.name}'}\n\n## Input for transformers\n\n{how}\n\n`{manifest.to_json()}`\n"


def _licence(text: str | None) -> str:
    """As the hub reads it: one of its short names, or "other" with words of our own, quoted for YAML."""
    if not text:
        return ""
    if text.lower() in HUB_LICENCES:
        return f"license: {text.lower()}\n"
    return f"license: other\nlicense_name: {json.dumps(text)}\n"
