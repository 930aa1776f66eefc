"""Several processes: the same run whole or divided, killed or going on from one another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from runs import losses, run_script, weights

from medsam.training.run import sealed


@pytest.mark.integration
def test_processes_are_as_one_whole_or_divided_and_go_on_from_each_other(discs: Path, tmp_path: Path) -> None:
    run_script("together", tmp_path, 0, 0, discs)
    one = losses(tmp_path / "one")
    assert len(one) == 3
    sheets = [(tmp_path / name / "examples/step-00000000.png").read_bytes() for name in ("one", "ddp", "fsdp")]
    assert sheets[0] == sheets[1] == sheets[2]  # each process drew its share
    names = ("ddp", "fsdp", "one-ddp", "one-fsdp", "ddp-one", "fsdp-one", "ddp-fsdp")
    for name in names:
        assert max(abs(a - b) for a, b in zip(one, losses(tmp_path / name), strict=True)) < 1e-5, name
        ours = weights(tmp_path / name)
        assert ours.keys() == weights(tmp_path / "one").keys()
        # rounding decides the sign of AdamW's update where a gradient is nothing; most weights agree to float rounding
        off = [(ours[key] - tensor).abs().flatten() for key, tensor in weights(tmp_path / "one").items()]
        assert torch.cat(off).median() < 1e-6, name
    assert not list((tmp_path / "one/checkpoints").glob("*/optimizer"))
    for name in ("ddp", "fsdp"):
        last = sealed.list_checkpoints(tmp_path / name)[-1]
        assert json.loads((last / "state.json").read_text())["sha256"].keys() >= {
            "optimizer/.metadata",
            "weights.safetensors",
        }
        assert len(list(last.glob("optimizer/*.distcp"))) == 2
