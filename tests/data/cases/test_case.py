"""One case as pairs: windows, planes, objects, layers, and what is left out with its reason."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store
from medsam.data.store.settings import CurateSettings


def test_ct_is_windowed_by_the_bounds_and_cut_into_axial_slices(making, tmp_path):
    tree = making.scans(1)
    curate([CuratedSource(parse_card(making.card_3d(), "t"), tree.root)], tmp_path / "s")
    store = Store(tmp_path / "s")
    assert len(store) == 8  # slices 2 to 9
    image, mask = store.pair(0)
    low, high = 40 - 200, 40 + 200
    expected = np.rint((np.clip(making.volume(0)[2].astype(float), low, high) - low) * 255 / (high - low))
    np.testing.assert_allclose(image[..., 0], expected, atol=1)
    np.testing.assert_array_equal(mask, making.disc() > 0)
    row = store.catalogue.slice(0, 1).to_pylist()[0]
    assert row["slice"] == 2
    assert row["spacing_z_mm"] == pytest.approx(2.5)
    assert row["window"] == "soft-tissue"


def test_sixteen_bits_are_the_same_rule_in_finer_steps(making, tmp_path):
    tree = making.scans(1)
    card = parse_card(making.card_3d(), "t")
    curate([CuratedSource(card, tree.root)], tmp_path / "eight")
    curate([CuratedSource(card, tree.root)], tmp_path / "sixteen", settings=CurateSettings(bits=16))
    eight, sixteen = Store(tmp_path / "eight"), Store(tmp_path / "sixteen")
    assert sixteen.pair(0)[0].dtype == np.uint16
    np.testing.assert_allclose(sixteen.slice_rgb(0).astype(int), eight.slice_rgb(0).astype(int), atol=1)
    assert len(np.unique(sixteen.pair(0)[0])) > 1.2 * len(np.unique(eight.pair(0)[0]))


def test_tiny_volumes_and_branching_targets_are_counted_not_lost(making, tmp_path):
    tree = making.tree()
    labels = making.ball()
    labels[5, :20, :20] = 2  # 400 voxels, 26-connected to nothing
    tree.nifti("imagesTr/a.nii.gz", making.volume(1))
    tree.nifti("labelsTr/a.nii.gz", labels)
    report = curate([CuratedSource(parse_card(making.card_3d(), "t"), tree.root)], tmp_path / "a")
    assert report.counts["scans"].excluded_pairs == {"tiny volume": 1}
    branching = making.card_3d().replace("organ = 1", "organ = { ids = 1, branching = true }")
    report = curate([CuratedSource(parse_card(branching, "t"), tree.root)], tmp_path / "b")
    assert report.counts["scans"].excluded_pairs == {"branching target": 8, "tiny volume": 1}
    assert report.counts["scans"].summary.pairs_read == 9
    assert report.clean  # rules are no faults


def test_targets_that_overlap_lie_in_different_layers(making, tmp_path):
    tree = making.tree()
    tree.raster("images/a.png", making.picture(0, channels=3))
    tree.raster("masks/a.png", making.disc(radius=20) + making.disc(radius=10))
    card = making.card_2d().replace("lesion = 1", "disc = [1, 2]\ncup = 2")
    curate([CuratedSource(parse_card(card, "t"), tree.root)], tmp_path / "s")
    store = Store(tmp_path / "s")
    by_name = {row["target"]: store.pair(i)[1] for i, row in enumerate(store.catalogue.to_pylist())}
    np.testing.assert_array_equal(by_name["disc"], making.disc(radius=20) > 0)
    np.testing.assert_array_equal(by_name["cup"], making.disc(radius=10) > 0)


def test_burned_in_text_is_warned_about(making, tmp_path):
    from PIL import ImageDraw, ImageFont

    tree = making.tree()
    for name, text in (("plain", ""), ("named", "PATIENT 4711")):
        canvas = Picture.fromarray(making.picture(3, 256, 256) // 2)
        if text:
            ImageDraw.Draw(canvas).text((10, 10), text, fill=255, font=ImageFont.load_default(16))
        tree.raster(f"images/{name}.png", np.asarray(canvas))
        tree.raster(f"masks/{name}.png", making.disc(256, 256, centre=(128, 128), radius=40))
    card = making.card_2d().replace("dermoscopy", "ultrasound")
    report = curate([CuratedSource(parse_card(card, "t"), tree.root)], tmp_path / "s")
    assert report.counts["skin"].summary.suspect_text == 1
    flags = {row["case"]: row["suspect_text"] for row in Store(tmp_path / "s").catalogue.to_pylist()}
    assert flags == {"plain": False, "named": True}
