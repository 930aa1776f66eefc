"""Hostile, damaged and foreign files are refused in words, and nothing in them runs."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import operator
import os
import pickle
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from random_weights import SCRAP, same_weights

from medsam.errors import CheckpointError
from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.checkpoint import inspect_checkpoint, load_checkpoint, save_checkpoint
from medsam.models.weights.file import locate_sidecar

pytestmark = pytest.mark.usefixtures("no_large_leftovers")

LITE = CATALOG["lite-medsam"].manifest


def test_old_torch_format_loads(tmp_path, lite):
    path = tmp_path / "old.pth"
    torch.save(lite.state_dict(), path, _use_new_zipfile_serialization=False)
    assert same_weights(load_checkpoint(path)[0], lite)


class Hostile:
    """Pickles to a call of whatever it is given."""

    def __init__(self, function: Callable[..., object], *arguments: object, state: object = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def gadgets(marker: Path) -> list[Hostile]:
    touch = f"open({str(marker)!r}, 'w').close()"
    return [
        Hostile(os.system, f"touch {marker}"),
        Hostile(os.popen, f"touch {marker}"),
        Hostile(os.mkdir, str(marker)),
        Hostile(os.execv, sys.executable, [sys.executable, "-c", touch]),
        Hostile(subprocess.check_call, ["touch", str(marker)]),
        Hostile(subprocess.Popen, ["touch", str(marker)]),
        Hostile(eval, touch),
        Hostile(exec, touch),
        Hostile(compile, touch, "x", "exec"),
        Hostile(__import__, "this"),
        Hostile(open, str(marker), "w"),
        Hostile(shutil.copy, "/etc/hostname", str(marker)),
        Hostile(Path(marker).touch),
        Hostile(runpy.run_path, str(marker)),
        Hostile(operator.attrgetter("__globals__"), 1),
        Hostile(functools.partial(os.system, f"touch {marker}")),
        Hostile(importlib.import_module, "antigravity"),
        Hostile(torch.hub.load, "x/y", "z"),
        Hostile(torch.save, {}, str(marker)),
        Hostile(np.save, str(marker), 0),
        Hostile(argparse.Namespace, state={"__class__": Hostile(os.system, f"touch {marker}")}),
    ]


@pytest.mark.parametrize("number", range(21))
def test_no_gadget_in_a_checkpoint_runs(tmp_path, number):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    torch.save({"model": SCRAP, "bait": gadgets(marker)[number]}, path)
    marker.unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"wants to run code \("):
        load_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("way", ["zip", "old", "plain pickle", "protocol 4"])
def test_code_in_a_pickle_is_refused_in_words_and_never_runs(tmp_path, way):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    bait = {"model": {"image_encoder.pos_embed": torch.zeros(1)}, "x": Hostile(os.system, f"touch {marker}")}
    if way in ("zip", "old"):
        torch.save(bait, path, _use_new_zipfile_serialization=way == "zip")
    else:
        path.write_bytes(
            pickle.dumps({"x": Hostile(os.system, f"touch {marker}")}, protocol=2 if way == "plain pickle" else 4)
        )
    for read in (inspect_checkpoint, load_checkpoint):
        with pytest.raises(CheckpointError, match=r"wants to run code \(((posix|nt|os)\.system|operand 149)\)"):
            read(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>virus scan warning</body></html>", "web page"),
        (b"just some text, no weights", "is no weights file"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged"),
        ((10**12).to_bytes(8, "little") + b'{"a":1}' + b"\0" * 100, "claims a header of 1000000000000 bytes"),
        ((2**62).to_bytes(8, "little") + b"{" + b"\0" * 100, "claims a header"),
        ((20).to_bytes(8, "little") + b"{not json at all....", "not the JSON"),
        ((2).to_bytes(8, "little") + b"{}" + b"surplus bytes", "says it holds 0 bytes"),
        ((44).to_bytes(8, "little") + b'{"a":{"shape":[1],"data_offsets":[0,1e999]}}', "not the JSON"),
    ],
    ids=["empty", "lfs", "html", "text", "zip", "oversized", "huge", "no-json", "surplus", "infinite"],
)
def test_files_that_are_no_weights_are_refused_in_words(tmp_path, content, said):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(path)


def test_header_with_offsets_outside_the_file_is_refused(tmp_path):
    header = json.dumps(
        {"image_encoder.pos_embed": {"dtype": "F32", "shape": [1, 64, 64, 768], "data_offsets": [0, 12582912]}}
    ).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(CheckpointError, match="says it holds 12582912 bytes of tensors and holds 16"):
        load_checkpoint(path)


def test_truncated_files_are_refused(tmp_path, lite):
    for name, layout in (("w.safetensors", "safetensors"), ("w.pth", "flat")):
        save_checkpoint(lite, LITE, tmp_path / name, layout)
        locate_sidecar(tmp_path / name).unlink(missing_ok=True)
        whole = (tmp_path / name).read_bytes()
        for part in (100, len(whole) // 2, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:part])
            with pytest.raises(CheckpointError):
                load_checkpoint(tmp_path / name)


def test_random_damage_never_gives_another_error(tmp_path):
    tensors = {f"image_encoder.{i}": torch.zeros(2, 3) for i in range(4)}
    path = tmp_path / "w.pth"
    torch.save({"model": tensors, "epoch": 1}, path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in random.integers(0, len(whole), 6):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_missing_file_and_folder_without_weights(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load_checkpoint(tmp_path)


def test_sharded_folder_is_said(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="several shards"):
        inspect_checkpoint(tmp_path)
