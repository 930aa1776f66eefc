"""Stores in other layouts, read back by other libraries, and MedSAM trees into a store."""

from __future__ import annotations

import csv
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.data.cards import parse_card
from medsam.data.curate import Source, curate
from medsam.data.export import export
from medsam.data.imports import import_tree
from medsam.data.store import Store
from medsam.errors import DataError, OutputError
from medsam.io.formats import read_mask


@pytest.fixture
def store(making, tmp_path):
    """Three pictures; the second has two discs, one inside the other."""
    tree = making.skin(3)
    tree.raster("masks/p001.png", making.disc(radius=20) + making.disc(radius=10))
    card = making.card_2d().replace("lesion = 1", "disc = [1, 2]\ncup = 2")
    curate([Source(parse_card(card, "t"), tree.root)], tmp_path / "s")
    return Store(tmp_path / "s")


def test_medsam_npy_is_what_the_released_loader_takes(store, tmp_path):
    assert export(store, tmp_path / "out", "medsam-npy") == 4  # overlapping targets make a further image
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


def test_a_medsam_npy_tree_comes_back_in(store, tmp_path):
    export(store, tmp_path / "out", "medsam-npy")
    report = import_tree(tmp_path / "out", tmp_path / "again", name="old", modality="dermoscopy", licence="CC0")
    assert report.clean
    assert report.counts["old"].summary.pairs_kept == 4
    again = Store(tmp_path / "again")
    assert again.pair(0)[0].shape == (1024, 1024, 3)
    wanted = sorted(int(a) for a in store.catalogue["area_px"].to_pylist())
    scale = 1024 * 1024 / (64 * 80)
    assert sorted(a / scale for a in again.catalogue["area_px"].to_pylist()) == pytest.approx(wanted, rel=0.02)


def test_cvpr_npz_holds_image_labels_and_boxes_and_comes_back_in(store, tmp_path):
    assert export(store, tmp_path / "out", "cvpr-npz") == 4
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
    assert total == sum(store.catalogue["area_px"].to_pylist())
    report = import_tree(tmp_path / "out", tmp_path / "again", name="old", modality="dermoscopy", licence="CC0")
    again = Store(tmp_path / "again")
    assert report.counts["old"].summary.pairs_kept == 4  # 317 pixels on one slice are no tiny volume
    assert sorted(again.catalogue["area_px"].to_pylist()) == sorted(store.catalogue["area_px"].to_pylist())
    assert len(again.catalogue["group"].unique()) == 3  # both images of one picture stay in one group


def test_the_index_says_what_each_exported_image_is(store, tmp_path):
    export(store, tmp_path / "out", "cvpr-npz")
    with (tmp_path / "out" / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["sample_id"] for row in rows) == sorted(store.catalogue["sample_id"].to_pylist())
    for row in rows:
        labels = np.load(tmp_path / "out" / f"{row['name']}.npz")["gts"]
        assert int(row["mask_value"]) in labels
        assert row["licence"] == "CC BY 4.0"


def test_a_tree_of_case_npz_comes_in(making, tmp_path):
    (tmp_path / "tree").mkdir()
    values = np.stack([making.picture(z) for z in range(12)])
    np.savez_compressed(
        tmp_path / "tree" / "CT_Abd_x.npz", imgs=values, gts=making.ball(), spacing=np.array([0.8, 0.8, 2.5])
    )
    report = import_tree(tmp_path / "tree", tmp_path / "s", name="old", modality="CT", licence="CC0")
    store = Store(tmp_path / "s")
    assert report.counts["old"].summary.pairs_kept == 8
    np.testing.assert_array_equal(store.pair(0)[0][..., 0], values[2])
    with pytest.raises(DataError, match="neither"):
        import_tree(tmp_path, tmp_path / "s", name="old2", modality="CT", licence="CC0")


def test_nnunet_raw_has_classes_channels_and_counts(store, tmp_path):
    export(store, tmp_path / "out", "nnunet")
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


def test_webdataset_tars_hold_triples_and_repeat_byte_for_byte(store, tmp_path):
    assert export(store, tmp_path / "out", "webdataset") == 4
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
    export(store, tmp_path / "twice", "webdataset")
    for file in (tmp_path / "out").iterdir():
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes()


def test_a_folder_that_is_not_empty_is_refused(store, tmp_path):
    with pytest.raises(OutputError, match="not empty"):
        export(store, tmp_path, "cvpr-npz")
    with pytest.raises(DataError, match="medsam-npy"):
        export(store, tmp_path / "new", "zip")
    with pytest.raises(DataError, match="no pair of split external"):
        export(store, tmp_path / "new", "cvpr-npz", split="external")
