"""Data sets of a study: chosen pictures of folders, named targets, nested sizes."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.errors import DataError
from medsam.evaluation.index import read_index, read_pair
from medsam.jobs.study_data import prepare_data, write_sized_sets
from medsam.jobs.study_recipe import StudyData, StudyModel, StudyRecipe


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    rows = []
    for k in range(12):
        name = f"{'nerve' if k % 3 else 'liver'}{k}.png"
        Picture.fromarray(np.full((16, 16), 9 * k, np.uint8)).save(folder / name)
        Picture.fromarray(np.full((16, 16), 1 + k % 2, np.uint8)).save(folder / f"m{name}")
        rows.append((name, f"m{name}", f"p{k}", "labels", "train" if k < 8 else "val"))
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "mask", "group", "mask_kind", "split"), *rows])
    sets = (
        StudyData(str(folder), "us_nerve", images="nerve*", targets="nerve", cases=2),
        StudyData(str(folder), "us_liver", role="external", images="liver*", targets={"1": "one", "2": "two"}),
    )
    return StudyRecipe(sets, (StudyModel("x"),))


def test_a_set_is_some_of_a_folder_with_names_and_no_pixel_is_copied(recipe, tmp_path):
    sets = prepare_data(recipe, tmp_path / "data")
    assert sets.modalities == ("ultrasound",)
    assert [len(read_index(sets.internal[0], split)) for split in ("train", "val")] == [5, 2]
    assert dict(read_index(sets.internal[0], "val")[0].names) == {1: "nerve", 2: "nerve"}
    far = read_index(sets.external[0], "val")
    assert [row.sample for row in far] == ["liver9.png"]
    assert dict(far[0].names) == {1: "one", 2: "two"}
    assert read_pair(far[0])[0][0, 0, 0] == 81
    with pytest.raises(DataError, match="no row of split 'train'"):
        read_index(sets.external[0], "train")
    assert sorted(path.suffix for path in (tmp_path / "data").rglob("*.*")) == [".csv"] * 4


def test_smaller_sizes_are_parts_of_larger_ones(recipe, tmp_path):
    sets = prepare_data(recipe, tmp_path / "data")
    names = []
    for size in (1, 3, 5):
        (place,) = write_sized_sets(recipe, sets, size, tmp_path / str(size))
        names.append({row.sample for row in read_index(place, "train")})
    assert [len(of) for of in names] == [1, 3, 5]
    assert names[0] < names[1] < names[2]
    with pytest.raises(DataError, match="at most the 5"):
        write_sized_sets(recipe, sets, 6, tmp_path / "6")
