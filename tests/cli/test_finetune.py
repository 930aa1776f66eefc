"""The command `medsam finetune`, as a user runs it, from the real weights of LiteMedSAM."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from ring_recipe import call
from safetensors.torch import load_file

import medsam
from medsam.cli.app import run as run_command
from medsam.cli.finetune import finetune
from medsam.cli.runs import runs
from medsam.errors import OutputError
from medsam.training.run.monitor import read_metrics


def test_finetune_says_before_and_after_on_cases_kept_aside(
    rings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "mine"
    arguments = (rings / "images", rings / "masks", "-o", run, "--epochs", 2, "--batch", 2, "--learning-rate", 1e-3)
    assert call(finetune, *arguments, "--device", "cpu") == 0
    said = capsys.readouterr().out
    assert "one batch can be learnt" in said
    assert "median dice" in said
    assert "+0." in said
    assert "Dice rose for 1 targets, fell for 0" in said
    saved = json.loads((run / "comparison.json").read_text())
    [[case, before, after]] = saved["cases"]
    assert f"case {case}: median dice" in said
    assert ["median dice", before, after] in saved["rows"]
    card = (run / "README.md").read_text()
    assert f"| cases | 1 | {before:.4f} | {after:.4f} |" in card
    assert [path.name for path in sorted((run / "examples").iterdir())] == ["step-00000000.png", "step-00000002.png"]
    call(runs, run, "--json")
    assert json.loads(capsys.readouterr().out)[0]["dice_last"] == pytest.approx(after)
    predictor = medsam.load_predictor(run / "model.safetensors", device="cpu")
    image = medsam.read_image(rings / "images/2.png")
    masks, _ = predictor.decode(predictor.embed(image.slice_rgb(0)), boxes=[(10, 10, 100, 80)])
    assert masks.shape == (1, 90, 120)
    with pytest.raises(OutputError, match="has files in it"):
        call(finetune, *arguments)


@contextmanager
def end_after_first_step(run: Path) -> Iterator[None]:
    """Within, this process gets SIGTERM once the run has noted a step."""

    def watch() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if any("loss" in line for line in read_metrics(run)):
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        watcher.join()


def test_a_finetuning_that_was_stopped_goes_on_exactly_and_only_with_its_cases(
    rings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", str(rings / "images"), str(rings / "masks"), "--epochs", "4", "--batch", "2"]
    command += ["--device", "cpu", "-o"]
    run = tmp_path / "run"
    with end_after_first_step(run):
        assert run_command([*command, str(run)]) == 143
    assert re.search(r"stopped at step [23] of 4; go on with the same command and --resume", capsys.readouterr().out)
    assert run_command([*command, str(run)]) == 1
    assert "choose another -o, or --resume" in capsys.readouterr().err
    assert run_command([*command, str(run), "--resume", "--held-out", "0.7"]) == 1
    assert "begun with other cases" in capsys.readouterr().err
    for _ in range(2):  # once more at the end changes nothing
        assert run_command([*command, str(run), "--resume"]) == 0
        assert "one batch can be learnt" not in capsys.readouterr().out
    assert run_command([*command, str(tmp_path / "whole")]) == 0
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (run, tmp_path / "whole"))
    assert all(torch.equal(one, theirs[name]) for name, one in ours.items())
    assert json.loads((run / "comparison.json").read_text()) == json.loads(
        (tmp_path / "whole/comparison.json").read_text()
    )
    steps = [line["step"] for line in read_metrics(run)]
    assert steps == [line["step"] for line in read_metrics(tmp_path / "whole")]
    assert len(json.loads((run / "cases.json").read_text())["learnt"]) == 2
