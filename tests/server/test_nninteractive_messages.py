"""Packed arrays: what the client's own code reads and writes, and what no bytes can do."""

from __future__ import annotations

import struct

import blosc2
import numpy as np
import pytest
from nnInteractive.inference.remote import serialization

from medsam.errors import MedsamError, PromptError
from medsam.server.nninteractive_messages import pack_array, unpack_array, voxel_bounds

MOST = 1 << 20


def unpack(data: bytes, most: int = MOST) -> np.ndarray:
    return unpack_array(memoryview(data), most)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "float32", "float64", "uint64"])
def test_the_client_and_we_read_each_other(dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 2, (1, 5, 6, 7)).astype(dtype)
    assert np.array_equal(unpack(serialization.pack_array(values, codec=blosc2.Codec.LZ4)), values)
    assert np.array_equal(unpack(serialization.pack_array(values)), values)
    assert np.array_equal(serialization.unpack_array(pack_array(values)), values)
    zeros = np.zeros((3, 101, 77), dtype)
    assert np.array_equal(serialization.unpack_array(pack_array(zeros)), zeros)


def packed(**change: object) -> bytes:
    """An array whose header says what it should not."""
    given = {
        "magic": b"NNIA",
        "version": 1,
        "codec": 1,
        "name": b"uint8",
        "shape": (1, 4, 4, 4),
        "chunks": None,
    } | change
    frame = blosc2.compress2(np.zeros(64, np.uint8))
    name, shape = given["name"], given["shape"]
    head = struct.pack("<4sBBBB", given["magic"], given["version"], given["codec"], len(shape), len(name)) + name
    chunks = [(64, len(frame))] if given["chunks"] is None else given["chunks"]
    body = b"".join(struct.pack("<QQ", *one) + frame for one in chunks)
    return head + struct.pack(f"<{len(shape)}q", *shape) + struct.pack("<I", len(chunks)) + body


HOSTILE = {
    "another magic": packed(magic=b"XXXX"), "another version": packed(version=2), "another codec": packed(codec=9),
    "objects": packed(name=b"object"), "text": packed(name=b"S1000000"), "no letters": packed(name=b""),
    "negative shape": packed(shape=(-1, 4, 4, 4)), "negative twice": packed(shape=(-4, -4, 4, 1)),
    "no voxel": packed(shape=(1, 0, 4, 4)), "a bomb": packed(shape=(1, 1 << 40, 1 << 20, 4)),
    "overflow": packed(shape=(1 << 62, 1 << 62, 4, 4)), "five dimensions": packed(shape=(1, 1, 4, 4, 4)),
    "no chunk": packed(chunks=[]), "too much": packed(chunks=[(64, 30), (64, 30)]),
    "longer than it is": packed(chunks=[(64, 1 << 62)]), "half items": packed(name=b"uint16", shape=(1, 4, 4, 2), chunks=[(63, 32)]),
    "frame of another length": packed(shape=(1, 4, 4, 2), chunks=[(32, 32)]), "empty": b"", "short": b"NNIA",
    "many chunks": packed()[:-40] + struct.pack("<I", 1 << 31),
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_array_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(MedsamError):
        unpack(data)


def test_a_thousand_damages_give_an_array_or_a_refusal() -> None:
    rng = np.random.default_rng(7)
    whole = serialization.pack_array(rng.integers(0, 9, (1, 9, 20, 20)).astype(np.int16))
    refused = 0
    for _ in range(1000):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(0, 256)
        data = data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data
        try:
            found = unpack(bytes(data))
        except MedsamError:
            refused += 1
        else:
            assert found.nbytes <= MOST
    assert refused > 300


def test_boxes_are_cut_to_the_image_and_one_beside_it_is_refused() -> None:
    assert voxel_bounds(((2.2, 2.9), (9, -3), (0, 99)), (5, 8, 9)) == ((2, 3), (0, 8), (0, 9))
    for beside in (((5, 6), (0, 1), (0, 1)), ((0, 0), (0, 1), (0, 1)), ((-9, -2), (0, 1), (0, 1))):
        with pytest.raises(PromptError):
            voxel_bounds(beside, (5, 8, 9))
