"""What a run says: every step and measurement, and nothing where it does not speak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import train

from medsam.progress import show_lines
from medsam.training.run.monitor import Monitor


def test_every_step_tells_its_loss_speed_and_memory_and_measurements_say_a_line(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int | None, str]] = []

    def tell(done: int, total: int | None, text: str = "") -> None:
        told.append((done, total, text))

    train(discs, tmp_path / "run", progress=tell)
    assert [step[:2] for step in told] == [(done, 5) for done in range(1, 6)]
    assert all(word in told[-1][2] for word in ("loss 1.", "samples/s", "MiB"))
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said if "on the tuning split" in line] == ["step 0", "step 4", "step 5"]


def test_a_process_that_does_not_speak_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Monitor(tmp_path / "run", total=1, step=0, speaks=False, board=True, progress=show_lines("train"))
    quiet.write({"step": 1, "loss": 1.0})
    quiet.picture("examples", 1, np.zeros((8, 8, 3), np.uint8))
    quiet.show(1, "loss 1")
    quiet.say("a line")
    quiet.flush()
    quiet.close()
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr() == ("", "")
