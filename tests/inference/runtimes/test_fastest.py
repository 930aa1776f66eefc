"""The faster runtime is measured once for each model, thread count and version."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from medsam.inference.runtimes.fastest import choose_fastest
from medsam.models.weights.manifest import Manifest

TINY = Manifest("a", "tiny_vit", frame_size=64)


class Sleeper:
    """A runtime that takes as long as it is told."""

    batch_size = 1
    name = "sleeper"
    precision = "fp32"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.encoded = 0

    def encode(self, image_B3SS: torch.Tensor) -> torch.Tensor:
        assert image_B3SS.shape == (1, 3, 64, 64)
        self.encoded += 1
        time.sleep(self.seconds)
        return image_B3SS

    def decode(self, *_: object, **__: object) -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError


@pytest.mark.parametrize(("torch_s", "openvino_s", "fastest"), [(0.001, 0.2, "torch"), (0.2, 0.001, "openvino")])
def test_the_faster_one_is_chosen_and_kept(tmp_path: Path, torch_s: float, openvino_s: float, fastest: str) -> None:
    both = {"torch": Sleeper(torch_s), "openvino": Sleeper(openvino_s)}
    loads = {name: lambda name=name: both[name] for name in both}
    kept = tmp_path / "cache" / "runtimes.json"
    assert choose_fastest(loads, kept, TINY, "w" * 64) == fastest
    measured = [one.encoded for one in both.values()]
    assert min(measured) > 1
    assert choose_fastest(loads, kept, TINY, "w" * 64) == fastest
    assert [one.encoded for one in both.values()] == measured  # not measured again
    [(key, note)] = json.loads(kept.read_text()).items()
    assert f"threads {torch.get_num_threads()}" in key
    assert "torch 2" in key
    assert note["runtime"] == fastest
    assert note["seconds"][fastest] < min(torch_s, openvino_s) + 0.1


def test_other_weights_and_thread_counts_are_measured_anew(tmp_path: Path) -> None:
    one = Sleeper(0)
    kept = tmp_path / "runtimes.json"
    before = torch.get_num_threads()
    choose_fastest({"torch": lambda: one}, kept, TINY, "w" * 64)
    choose_fastest({"torch": lambda: one}, kept, TINY, "v" * 64)
    torch.set_num_threads(before + 1)
    try:
        choose_fastest({"torch": lambda: one}, kept, TINY, "v" * 64)
    finally:
        torch.set_num_threads(before)
    assert len(json.loads(kept.read_text())) == 3


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 3}', "[" * 100_000])
def test_a_damaged_file_is_replaced(tmp_path: Path, text: str) -> None:
    kept = tmp_path / "runtimes.json"
    kept.write_text(text)
    assert choose_fastest({"torch": lambda: Sleeper(0)}, kept, TINY, "w") == "torch"
    assert len(json.loads(kept.read_text())) == 1


def test_a_folder_that_cannot_be_written_is_said_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert choose_fastest({"torch": lambda: Sleeper(0)}, tmp_path / "file" / "runtimes.json", TINY, "w") == "torch"
    assert "the choice of runtime is not kept" in caplog.text
