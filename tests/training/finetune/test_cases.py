"""Cases of a user: paired by name, named where they are not, divided by patient."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsam.errors import DataError
from medsam.training.finetune.cases import pair_cases, split_cases
from medsam.training.samples.sources import CaseSource, find_case_name


def test_a_case_is_on_one_side_with_all_its_slices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b[7]", "c", "d"):
        labels = np.zeros((4, 40, 40), np.uint8)
        labels[1:, 10:30, 10:30] = 1
        pixels = labels * 100 + rng.integers(0, 50, labels.shape)
        for folder, array in (("images", pixels.astype(np.int16)), ("masks", labels)):
            nibabel.save(nibabel.Nifti1Image(array.T, np.diag([1.0, 1, 3, 1])), tmp_path / folder / f"{name}.nii.gz")
    learn, kept = split_cases(pair_cases(tmp_path / "images", tmp_path / "masks"), 0.5, seed=0)
    sides = [CaseSource(side, modality="MR", window=None) for side in (learn, kept)]
    names = [{find_case_name(side.unit(i).name) for i in range(len(side))} for side in sides]
    assert [len(side) for side in sides] == [6, 6]
    assert names == [{case.name for case in learn}, {case.name for case in kept}]
    assert not names[0] & names[1]


def test_files_of_one_patient_are_on_one_side(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("anna_1", "anna_2", "anna_3", "bert_1", "carl-1"):
            (tmp_path / folder / f"{name}.png").touch()

    def sides(patient: str, seed: int) -> list[set[str]]:
        cases = pair_cases(tmp_path / "images", tmp_path / "masks", patient)
        return [{case.name for case in side} for side in split_cases(cases, 0.4, seed)]

    for expression in ("^[a-z]+", "(.*?)[_-]"):
        for seed in range(8):
            learnt, aside = sides(expression, seed)
            assert len(learnt | aside) == 5
            assert {name[:4] for name in learnt}.isdisjoint(name[:4] for name in aside)
    anna = {"anna_1", "anna_2", "anna_3"}
    assert any(0 < len(anna & sides("", seed)[0]) < 3 for seed in range(8))
    for expression, said in (
        ("[", "no regular expression"),
        ("anna", "finds nothing in 'bert_1'"),
        ("()", "finds nothing in 'anna_1'"),
    ):
        with pytest.raises(DataError, match=said):
            sides(expression, 0)


def test_cases_are_paired_by_name_and_split_for_good(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("0", "1", "2"):
            (tmp_path / folder / f"{name}.png").touch()
    cases = pair_cases(tmp_path / "images", tmp_path / "masks")
    assert [case.name for case in cases] == ["0", "1", "2"]
    learn, kept = split_cases(cases, 0.2, seed=0)
    assert (len(learn), len(kept)) == (2, 1)
    assert split_cases(cases[::-1], 0.2, seed=0)[1] == kept
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no mask"):
        pair_cases(tmp_path / "images", tmp_path / "empty")
    with pytest.raises(DataError, match="is no folder"):
        pair_cases(tmp_path / "images", tmp_path / "none")
    with pytest.raises(DataError, match="held_out is 1"):
        split_cases(cases, 1.0, seed=0)
