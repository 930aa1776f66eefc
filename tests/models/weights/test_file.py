"""A weights file before any tensor is read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from medsam.errors import CheckpointError
from medsam.models.weights.file import detect_kind, digest, read_header, read_sidecar, write_sidecar
from medsam.models.weights.manifest import Manifest


def safetensors(header: bytes, body: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def test_a_header_gives_shapes_and_metadata(tmp_path: Path) -> None:
    rows = {"__metadata__": {"k": "v"}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}
    (tmp_path / "a").write_bytes(safetensors(json.dumps(rows).encode(), bytes(8)))
    header = read_header(tmp_path / "a")
    assert header.metadata == {"k": "v"}
    assert header.shapes == {"a": (2, 1)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (safetensors(b'{"a": ' + b"[" * 100_000), "not the JSON"),
        (safetensors(b'{"a": {"shape": [1e999], "data_offsets": [0, 1]}}', b"x"), "not the JSON"),
        (safetensors(b'{"a": {"shape": [1], "data_offsets": [0, 9]}}', b"x"), "says it holds 9 bytes of tensors and holds 1"),
        ((1 << 62).to_bytes(8, "little") + b"{}", "claims a header of 4611686018427387904 bytes"),
    ],
)  # fmt: skip
def test_a_damaged_header_is_refused_in_words(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read_header(tmp_path / "a")


def test_files_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    for content, kind in ((b"PK\x03\x04", "zip"), (safetensors(b"{}"), "safetensors"), (b"\x80\x02.", "pickle")):
        (tmp_path / "a").write_bytes(content)
        assert detect_kind(tmp_path / "a") == kind


def test_hashes_are_those_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_a_manifest_lies_beside_a_file(tmp_path: Path) -> None:
    write_sidecar(tmp_path / "a.pth", Manifest("a", "vit_b"))
    assert read_sidecar(tmp_path / "a.pth") == Manifest("a", "vit_b")


def test_a_pipe_is_no_weights_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="a pipe, socket or device"):
        detect_kind(tmp_path / "a.pth")
