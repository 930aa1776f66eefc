"""A study holds its folder to its recipe; tests/cli/test_study.py runs whole ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medsam.errors import DataError
from medsam.jobs.study import run_study
from medsam.jobs.study_recipe import StudyData, StudyModel, StudyRecipe


def test_other_data_or_models_need_another_folder_and_a_task_must_be_one(tmp_path):
    recipe = StudyRecipe((StudyData(str(tmp_path / "no"), "us_a"),), (StudyModel("x"),))
    for _ in range(2):  # begun, and then held to it
        with pytest.raises(DataError, match=r"no index\.csv"):
            run_study("internal", recipe, tmp_path / "out", say=str)
    with pytest.raises(DataError, match="begun with other seed"):
        run_study("internal", replace(recipe, seed=1), tmp_path / "out", say=str)
    with pytest.raises(DataError, match=r"no index\.csv"):
        run_study("internal", replace(recipe, worst=3), tmp_path / "out", say=str)
