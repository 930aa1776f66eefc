"""Reading a store: counts, checks that find damage, pictures."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from medsam.data.store.reading import Store, check, count_store
from medsam.errors import DataError


def test_counts_are_those_of_the_catalogue(mixed_store):
    counts = count_store(mixed_store)
    assert (counts.pairs, counts.images, counts.groups) == (14, 14, 7)
    assert counts.by["modality"] == {"CT": 8, "dermoscopy": 6}
    assert counts.by["licence"] == {"CC BY-SA 4.0": 8, "CC BY 4.0": 6}
    assert sum(counts.by["split"].values()) == 14


def test_rows_are_chosen_by_columns(mixed_store):
    assert len(mixed_store.rows(modality="CT", dataset="scans")) == 8
    assert len(mixed_store.rows(modality="CT", dataset="skin")) == 0
    with pytest.raises(DataError, match="no column 'colour'"):
        mixed_store.rows(colour="red")
    with pytest.raises(DataError, match="0 to 13"):
        mixed_store.pair(14)


def test_pictures_for_models_are_rgb(mixed_store):
    ct = int(mixed_store.rows(modality="CT")[0])
    assert mixed_store.pair(ct)[0].shape == (64, 80, 1)
    rgb = mixed_store.slice_rgb(ct)
    assert rgb.shape == (64, 80, 3)
    assert (rgb[..., 0] == rgb[..., 2]).all()


def test_a_store_travels_to_loader_processes(mixed_store):
    again = pickle.loads(pickle.dumps(mixed_store))
    np.testing.assert_array_equal(again.pair(3)[1], mixed_store.pair(3)[1])


def test_damage_is_found(mixed_store):
    assert check(mixed_store) == []
    array = next((mixed_store.path / "shards").glob("scans-*/arrays.zarr/image_*/c/*/*/*/*"))
    content = bytearray(array.read_bytes())
    content[len(content) // 3] ^= 255
    array.write_bytes(content)
    damaged = check(Store(mixed_store.path))
    assert damaged
    assert all("picture has changed" in line or "cannot be read" in line for line in damaged)
    array.unlink()
    assert len(check(Store(mixed_store.path))) == 8


def test_a_missing_shard_and_a_stranger_are_found(mixed_store):
    shard = next((mixed_store.path / "shards").glob("skin-*"))
    shard.rename(shard.with_name("stranger"))
    problems = check(Store(mixed_store.path), sample=1)
    assert f"shard {shard.name} is missing" in problems
    assert "shard stranger belongs to no data set" in problems


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a store"):
        Store(tmp_path)
