"""Reading a store: counts, checks that find damage, pictures."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.data.browse import contact_sheet, figure_counts
from medsam.data.cards import parse_card
from medsam.data.catalogue import read_table
from medsam.data.curate import Source, curate
from medsam.data.store import Store, check, info
from medsam.data.subset import write_subsets
from medsam.errors import DataError


@pytest.fixture
def store(making, tmp_path):
    skin, scans = making.skin(6), making.scans(1)
    curate(
        [Source(parse_card(making.card_2d(), "t"), skin.root), Source(parse_card(making.card_3d(), "t"), scans.root)],
        tmp_path / "s",
    )
    return Store(tmp_path / "s")


def test_counts_are_those_of_the_catalogue(store):
    counts = info(store)
    assert (counts.pairs, counts.images, counts.groups) == (14, 14, 7)
    assert counts.by["modality"] == {"CT": 8, "dermoscopy": 6}
    assert counts.by["licence"] == {"CC BY-SA 4.0": 8, "CC BY 4.0": 6}
    assert sum(counts.by["split"].values()) == 14


def test_rows_are_chosen_by_columns(store):
    assert len(store.rows(modality="CT", dataset="scans")) == 8
    assert len(store.rows(modality="CT", dataset="skin")) == 0
    with pytest.raises(DataError, match="no column 'colour'"):
        store.rows(colour="red")
    with pytest.raises(DataError, match="0 to 13"):
        store.pair(14)


def test_pictures_for_models_are_rgb(store):
    ct = int(store.rows(modality="CT")[0])
    assert store.pair(ct)[0].shape == (64, 80, 1)
    rgb = store.slice_rgb(ct)
    assert rgb.shape == (64, 80, 3)
    assert (rgb[..., 0] == rgb[..., 2]).all()


def test_a_store_travels_to_loader_processes(store):
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.pair(3)[1], store.pair(3)[1])


def test_damage_is_found(store):
    assert check(store) == []
    array = next((store.path / "shards").glob("scans-*/arrays.zarr/image_*/c/*/*/*/*"))
    content = bytearray(array.read_bytes())
    content[len(content) // 3] ^= 255
    array.write_bytes(content)
    damaged = check(Store(store.path))
    assert damaged
    assert all("picture has changed" in line or "cannot be read" in line for line in damaged)
    array.unlink()
    assert len(check(Store(store.path))) == 8


def test_a_missing_shard_and_a_stranger_are_found(store):
    shard = next((store.path / "shards").glob("skin-*"))
    shard.rename(shard.with_name("stranger"))
    problems = check(Store(store.path), sample=1)
    assert f"shard {shard.name} is missing" in problems
    assert "shard stranger belongs to no data set" in problems


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a store"):
        Store(tmp_path)


def test_the_figure_and_the_sheet_show_what_is_there(store, tmp_path):
    figure_counts(info(store), tmp_path / "counts.png")
    assert Picture.open(tmp_path / "counts.png").width > 800
    assert contact_sheet(store, tmp_path / "sheet.png", count=8, columns=4) == 8
    sheet = np.asarray(Picture.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    green = (sheet[..., 1] > 180) & (sheet[..., 0] < 90) & (sheet[..., 2] < 140)
    assert green.sum() > 200  # contours
    assert contact_sheet(store, tmp_path / "few.png", count=50, modality="CT") == 8


def test_subsets_are_lists_of_ids_that_nest(store, tmp_path):
    made = write_subsets(store, [4, 2], tmp_path / "sub", split="train")
    small, large = (set(read_table(path)["sample_id"].to_pylist()) for path, _ in made)
    assert (len(small), len(large)) == (2, 4)
    assert small < large
    with pytest.raises(DataError, match="a subset of 1,000"):
        write_subsets(store, [1000], None)
