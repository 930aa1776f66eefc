"""What fine-tuning insists on before it loads a model; the whole of it is tested by its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import CONFIG, source

from medsam.errors import DataError, OutputError
from medsam.training.finetune.finetune import CASES, finetune


def begin(discs: Path, folder: Path, learnt: list[str], *, resume: bool) -> None:
    cases = {"learnt": learnt, "kept": ["c"]}
    learn, kept = source(discs, "train"), source(discs, "tune")
    finetune(CONFIG, folder, learn, kept, cases=cases, device="cpu", say=print, resume=resume)


def test_a_folder_with_something_else_in_it_is_left_alone(discs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(OutputError, match="has files in it"):
            begin(discs, tmp_path, ["a", "b"], resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_goes_on_with_the_cases_it_began_with_only(discs: Path, tmp_path: Path) -> None:
    (tmp_path / CASES).write_text(json.dumps({"learnt": ["a", "b"], "kept": ["c"]}))
    with pytest.raises(DataError, match="begun with other cases"):
        begin(discs, tmp_path, ["a"], resume=True)
