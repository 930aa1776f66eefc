"""A curated store as a source of samples: pairs, or pictures with all their targets."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image as Picture
from tiny import source

from medsam.data.imports import import_tree
from medsam.data.store.reading import Store
from medsam.data.store.tables import read_table, write_table
from medsam.data.subset import write_subsets
from medsam.errors import DataError, InputFileError, IntensityError, MedsamError
from medsam.models.weights.manifest import Manifest
from medsam.training.config import TrainConfig
from medsam.training.samples.dataset import Draws
from medsam.training.samples.recipe_data import open_recipe_data
from medsam.training.samples.sources import CaseSource, MixedSource, StoreSource, UserCase

LITE = Manifest(name="m", architecture="tiny_vit", frame_size=64, fit="pad", interpolation="area")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve volumes of four slices, each with two objects of 400 pixels."""
    root = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    (root / "tree").mkdir()
    for i in range(12):
        labels = np.zeros((4, 64, 80), np.uint8)
        labels[:, 5:25, 10:30], labels[:, 35:55, 45:65] = 1, 2
        images = np.where(labels > 0, 200, 50) + rng.integers(0, 30, labels.shape)
        np.savez(root / f"tree/case{i:02d}.npz", imgs=images.astype(np.uint8), gts=labels)
    import_tree(root / "tree", root / "store", name="squares", modality="MR", licence="CC0")
    return root / "store"


def test_units_are_pairs_or_pictures_with_all_their_targets(store: Path) -> None:
    pairs, pictures = (StoreSource(store, "train", by_picture=by) for by in (False, True))
    assert len(pairs) == 2 * len(pictures) > 0
    assert {len(pairs.read(i).masks) for i in range(len(pairs))} == {1}
    assert {len(pictures.read(i).masks) for i in range(len(pictures))} == {2}
    unit = pictures.unit(0)
    assert (unit.dataset, unit.modality, unit.licence) == ("squares", "MR", "CC0")
    one = pictures.read(0)
    assert one.pixels_HW3.shape == (64, 80, 3)
    assert sorted(int(np.flatnonzero(mask.any(axis=0))[0]) for mask in one.masks) == [10, 45]
    assert np.array_equal(pickle.loads(pickle.dumps(pictures)).read(1).pixels_HW3, pictures.read(1).pixels_HW3)


def test_a_source_knows_its_pictures_and_itself(store: Path, tmp_path: Path) -> None:
    pairs, pictures = (StoreSource(store, "train", by_picture=by) for by in (False, True))
    assert pairs.pictures == pictures.pictures == len(pictures)
    import_tree(store.parent / "tree", tmp_path / "again", name="squares", modality="MR", licence="CC0")
    assert StoreSource(tmp_path / "again", "train", by_picture=True).identity() == pictures.identity()
    others = [pairs.identity(), StoreSource(store, "tune", by_picture=True).identity()]
    assert len({pictures.identity(), *others}) == 3
    both = MixedSource([pairs, pictures])
    assert both.pictures == 2 * len(pictures)
    assert both.identity() != MixedSource([pictures, pairs]).identity()


def test_a_recipe_opens_its_store(store: Path) -> None:
    config = TrainConfig(data=(str(store),), prompts_per_image=2, like="")
    batch = Draws(open_recipe_data(config, "train"), LITE, config)[0]
    assert batch.counts == (2,)
    mixed = replace(config, data=(str(store), str(store)))
    assert len(open_recipe_data(mixed, "train")) == 2 * len(open_recipe_data(config, "train"))


def test_a_missing_split_is_refused_with_those_there(store: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'test'; expected one of .*train \("):
        StoreSource(store, "test", by_picture=False)


def test_a_store_of_another_version_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    settings = json.loads((store / "store.json").read_text())
    (tmp_path / "old/store.json").write_text(json.dumps({**settings, "format": 99}))
    with pytest.raises(DataError, match="another format"):
        open_recipe_data(TrainConfig(data=(str(tmp_path / "old"),)), "train")


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data to learn from"):
        open_recipe_data(TrainConfig(data=(str(tmp_path),)), "train")


def test_a_subset_limits_the_split_it_was_made_of(store: Path) -> None:
    [(path, _)] = write_subsets(Store(store), [6], None)
    config = TrainConfig(data=(str(path),), like="")
    whole = TrainConfig(data=(str(store),), like="")
    ids = set(read_table(path, ["sample_id"])["sample_id"].to_pylist())
    learn = open_recipe_data(config, "train")
    assert {learn.unit(i).name for i in range(len(learn))} == ids
    assert len(learn) == 6 < len(open_recipe_data(whole, "train"))
    assert len(open_recipe_data(config, "val")) == len(open_recipe_data(whole, "val"))


def test_a_subset_of_another_store_is_refused(store: Path) -> None:
    write_table(pa.table({"sample_id": ["0" * 24], "modality": ["MR"]}), store / "subsets/other.parquet")
    with pytest.raises(DataError, match=r"1 of the 1 pairs of .*other\.parquet are not in the store"):
        open_recipe_data(TrainConfig(data=(str(store / "subsets/other.parquet"),)), "train")


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (lambda at: (at / "images/2.png").unlink(), InputFileError, r"images/2\.png"),
        (lambda at: Picture.new("I;16", (80, 60)).save(at / "images/2.png"), IntensityError, "uint16 pixels"),
        (lambda at: Picture.new("L", (80, 61), 1).save(at / "masks/2.png"), DataError, "the same size"),
        (lambda at: (at / "images/2.png").write_bytes(b"\x89PNG\r\n\x1a\n"), InputFileError, r"images/2\.png"),
    ],
)
def test_a_bad_picture_is_known_before_the_first_step(
    discs: Path, tmp_path: Path, damage: Any, kind: type[MedsamError], said: str
) -> None:
    folder = Path(shutil.copytree(discs, tmp_path / "discs"))
    damage(folder)
    with pytest.raises(kind, match=said):
        source(folder, "train")


def test_a_case_that_cannot_be_normalized_is_named(tmp_path: Path) -> None:
    pixels = np.full((2, 20, 20), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "p7.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 20, 20), np.uint8), np.eye(4)), tmp_path / "mask.nii.gz")
    case = UserCase("p7", tmp_path / "p7.nii.gz", tmp_path / "mask.nii.gz")
    with pytest.raises(IntensityError, match=r"p7\.nii\.gz: .*NaN"):
        CaseSource([case], modality="MR", window=None)
