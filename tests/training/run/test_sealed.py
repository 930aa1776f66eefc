from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import DataError
from medsam.training.run.sealed import RunPosition, find_latest, list_checkpoints, write_checkpoint


def fill(folder: Path) -> None:
    (folder / "weights").write_bytes(b"abc")


def test_the_last_two_are_kept_and_the_latest_whole_one_is_found(tmp_path: Path) -> None:
    assert find_latest(tmp_path) == (None, RunPosition())
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, RunPosition(step=step, seconds=step * 2.0), fill)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
    assert find_latest(tmp_path) == (list_checkpoints(tmp_path)[-1], RunPosition(step=3, seconds=6.0))
    (list_checkpoints(tmp_path)[-1] / "weights").write_bytes(b"abd")
    assert find_latest(tmp_path)[1].step == 2
    (list_checkpoints(tmp_path)[0] / "state.json").unlink()
    with pytest.raises(DataError, match="none of the 2 checkpoints"):
        find_latest(tmp_path)


def test_a_write_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_checkpoint(tmp_path, RunPosition(step=1), fail)
    assert list((tmp_path / "checkpoints").iterdir()) == []
