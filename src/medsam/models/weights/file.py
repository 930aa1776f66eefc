"""A weights file before any tensor is read: what it is, its hash, the safetensors header."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medsam.errors import CheckpointError
from medsam.files.atomic import write_text
from medsam.models.weights.manifest import Manifest

Kind = Literal["safetensors", "zip", "pickle"]

MANIFEST_KEY = "medsam.manifest"  # in a safetensors header's metadata
MAX_HEADER_BYTES = 100 * 1024 * 1024  # the format's own limit

WANTED = "a .pth, .pt, .bin, .ckpt or .safetensors file, or a SamModel folder"


@dataclass(frozen=True)
class Header:
    """What a safetensors file says before its bytes: free metadata, and the shape of each tensor."""

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]


def locate_sidecar(path: Path) -> Path:
    """Where the manifest of a file that has no room for it lies: NAME.manifest.json beside it."""
    return path.with_name(path.name + ".manifest.json")


def read_sidecar(path: Path) -> Manifest:
    """The manifest beside a file.

    Raises:
        CheckpointError: none there, or it cannot be read.
    """
    try:
        return Manifest.from_json(locate_sidecar(path).read_text("utf-8"))
    except OSError:
        raise CheckpointError(
            f"{path} has no manifest beside it",
            expected=str(locate_sidecar(path)),
            fix="export it again with this package, which writes both",
        ) from None
    except UnicodeDecodeError:
        raise CheckpointError(
            f"{locate_sidecar(path)} is no text", expected="a manifest", fix="write it again"
        ) from None


def write_sidecar(path: Path, manifest: Manifest) -> None:
    """Put a manifest beside a file."""
    write_text(locate_sidecar(path), manifest.to_json() + "\n")


def digest(path: Path, algorithm: Literal["sha256", "md5"] = "sha256") -> str:
    """Hash a file without reading it whole into memory; md5 only to recognise, never to trust."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=algorithm != "md5")).hexdigest()


def detect_kind(path: Path) -> Kind:
    """Tell what a weights file is by its first bytes; the suffix is not believed.

    Raises:
        CheckpointError: missing, empty, a folder, or something that is no weights file.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # it may never end
        raise CheckpointError(f"{path} is a pipe, socket or device", expected=WANTED, fix="give a file")
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror or error}", expected=WANTED, fix="check the path and its permissions"
        ) from None
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if len(start) > 9 and start[8:9] == b"{" and start[:1] != b"{":
        return "safetensors"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    raise CheckpointError(f"{path} {_what(start)}", expected=WANTED, fix="download it again, or give another path")


def _what(start: bytes) -> str:
    if not start:
        return "is empty"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file it points to"
    if start.lstrip()[:9].lower() in (b"<!doctype", b"<html>") or start.lstrip()[:5].lower() == b"<html":
        return "is a web page, not weights"
    return "is no weights file"


def read_header(path: Path) -> Header:
    """Read a safetensors header; nothing is believed before it is checked against the file's size.

    Raises:
        CheckpointError: truncated, too long, no JSON, or offsets that leave the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise _damaged(path, f"claims a header of {length} bytes in a file of {size}")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        shapes = {key: tuple(int(side) for side in row["shape"]) for key, row in header.items()}
        end = max((int(row["data_offsets"][1]) for row in header.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, MemoryError):
        raise _damaged(path, "has a header that is not the JSON of safetensors") from None
    if end != size - 8 - length:
        raise _damaged(path, f"says it holds {end} bytes of tensors and holds {size - 8 - length}")
    return Header(metadata, shapes)


def _damaged(path: Path, how: str) -> CheckpointError:
    return CheckpointError(f"{path} {how}", expected="a whole safetensors file", fix="download or convert it again")
