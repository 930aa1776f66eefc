"""The data of a recipe: folders with an index, several of them as one, and what is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import CONFIG

from medsam.errors import DataError
from medsam.training.samples.recipe_data import open_recipe_data
from medsam.training.samples.sources import PictureSource


def test_one_folder_is_opened_as_it_is_and_several_are_one(discs: Path) -> None:
    one = open_recipe_data(replace(CONFIG, data=(str(discs),)), "train")
    assert isinstance(one, PictureSource)
    assert (len(one), len(open_recipe_data(replace(CONFIG, data=(str(discs),)), "tune"))) == (9, 3)
    two = open_recipe_data(replace(CONFIG, data=(str(discs), str(discs))), "train")
    assert len(two) == 18
    assert two.unit(12).name == one.unit(3).name


def test_what_is_no_data_and_a_split_that_is_not_there_are_refused(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no data to learn from; .*relative to where the command runs"):
        open_recipe_data(replace(CONFIG, data=(str(tmp_path),)), "train")
    with pytest.raises(DataError, match="no row of split 'learn'"):
        open_recipe_data(replace(CONFIG, data=(str(discs),)), "learn")
