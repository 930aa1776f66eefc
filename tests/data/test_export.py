"""Stores in other layouts, read back by other libraries, and MedSAM trees into a store."""

from __future__ import annotations

import csv
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.data.cards.card import parse_card
from medsam.data.export import export
from medsam.data.imports import import_tree
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store
from medsam.errors import DataError, OutputError
from medsam.io.formats import read_mask


def test_medsam_npy_is_what_the_released_loader_takes(nested_store, tmp_path):
    assert export(nested_store, tmp_path / "out", "medsam-npy") == 4  # overlapping targets make a further image
    files = sorted((tmp_path / "out" / "imgs").iterdir())
    assert len(files) == 4
    for file in files:
        image, labels = np.load(file), np.load(tmp_path / "out" / "gts" / file.name)
        assert image.shape == (1024, 1024, 3)
        assert image.dtype == np.float64
        assert (image.min(), image.max()) == (0, 1)
        assert labels.shape == (1024, 1024)
        assert labels.dtype == np.uint8
        assert labels.any()


def test_cvpr_npz_holds_image_labels_and_boxes_and_comes_back_in(nested_store, tmp_path):
    assert export(nested_store, tmp_path / "out", "cvpr-npz") == 4
    total = 0
    for file in (tmp_path / "out").glob("*.npz"):
        content = np.load(file)
        assert content["imgs"].shape == (64, 80, 3)
        assert content["boxes"].shape == (1, 4)
        x0, y0, x1, y1 = content["boxes"][0].astype(int)
        rows, columns = np.nonzero(content["gts"])
        assert (columns.min(), rows.min(), columns.max(), rows.max()) == (x0, y0, x1, y1)
        assert read_mask(file).grid.shape == (1, 64, 80)
        total += int((content["gts"] > 0).sum())
    assert total == sum(nested_store.catalogue["area_px"].to_pylist())
    report = import_tree(tmp_path / "out", tmp_path / "again", name="old", modality="dermoscopy", licence="CC0")
    again = Store(tmp_path / "again")
    assert report.counts["old"].summary.pairs_kept == 4  # 317 pixels on one slice are no tiny volume
    assert sorted(again.catalogue["area_px"].to_pylist()) == sorted(nested_store.catalogue["area_px"].to_pylist())
    assert len(again.catalogue["group"].unique()) == 3  # both images of one picture stay in one group


def test_grey_slices_are_exported_with_three_equal_channels_and_come_back_grey(making, tmp_path):
    curate([CuratedSource(parse_card(making.card_3d(), "t"), making.scans(1).root)], tmp_path / "s")
    store = Store(tmp_path / "s")
    assert export(store, tmp_path / "out", "cvpr-npz") == len(store) == 8
    for file in (tmp_path / "out").glob("*.npz"):
        content = np.load(file)
        assert content["imgs"].shape == (64, 80, 3)
        assert (content["imgs"] == content["imgs"][..., :1]).all()
        assert content["gts"].shape == (64, 80)
    import_tree(tmp_path / "out", tmp_path / "again", name="old", modality="CT", licence="CC0")
    again = Store(tmp_path / "again")
    assert again.pair(0)[0].shape == (64, 80, 1)
    assert sorted(again.catalogue["image_sha256"].to_pylist()) == sorted(store.catalogue["image_sha256"].to_pylist())


def test_the_index_says_what_each_exported_image_is(nested_store, tmp_path):
    export(nested_store, tmp_path / "out", "cvpr-npz")
    with (tmp_path / "out" / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["sample_id"] for row in rows) == sorted(nested_store.catalogue["sample_id"].to_pylist())
    for row in rows:
        labels = np.load(tmp_path / "out" / f"{row['name']}.npz")["gts"]
        assert int(row["mask_value"]) in labels
        assert row["licence"] == "CC BY 4.0"


def test_nnunet_raw_has_classes_channels_and_counts(nested_store, tmp_path):
    export(nested_store, tmp_path / "out", "nnunet")
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "cup": 1, "disc": 2}
    assert list(description["channel_names"]) == ["0", "1", "2"]
    training = list((tmp_path / "out" / "imagesTr").glob("*_0000.png"))
    assert len(training) == description["numTraining"]
    for image in (tmp_path / "out").glob("images*/*.png"):
        labels = np.asarray(
            Picture.open(
                image.parent.parent / image.parent.name.replace("images", "labels") / image.name.replace("_0000", "")
            )
        )
        assert set(np.unique(labels)) in ({0, 1}, {0, 2})


def test_webdataset_tars_hold_triples_and_repeat_byte_for_byte(nested_store, tmp_path):
    assert export(nested_store, tmp_path / "out", "webdataset") == 4
    names = []
    for file in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(file) as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
        names += list(members)
        stem = next(iter(members)).split(".")[0]
        facts = json.loads(members[f"{stem}.json"])
        assert facts["split"] == file.name.split("-")[0]
        mask = np.asarray(Picture.open(io.BytesIO(members[f"{stem}.mask.png"])))
        assert int((mask == facts["objects"][0]["mask_value"]).sum()) == facts["objects"][0]["area_px"]
    assert len(names) == 12
    export(nested_store, tmp_path / "twice", "webdataset")
    for file in (tmp_path / "out").iterdir():
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes()


def test_a_folder_that_is_not_empty_is_refused(nested_store, tmp_path):
    with pytest.raises(OutputError, match="not empty"):
        export(nested_store, tmp_path, "cvpr-npz")
    with pytest.raises(DataError, match="medsam-npy"):
        export(nested_store, tmp_path / "new", "zip")
    with pytest.raises(DataError, match="no pair of split external"):
        export(nested_store, tmp_path / "new", "cvpr-npz", split="external")
