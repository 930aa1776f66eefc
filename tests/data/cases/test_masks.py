"""Masks of a case as a card means them: their grid, their order, their form."""

from __future__ import annotations

import numpy as np
from published_layouts import D, H, W, blocks, dicom, save

from medsam.data.cards.card import load_card, parse_card
from medsam.data.cases.case import read_case
from medsam.data.cases.paths import find_cases, forget_listings
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store


def test_stacked_masks_follow_the_names_of_the_dicom_files(tmp_path):
    """z falls while names rise: mask 0 belongs to the highest slice."""
    dicom(tmp_path / "CT/1/DICOM_anon", D, descending=True)
    for k in range(D):
        labels = blocks([255], (H, W)) if k < 2 else np.zeros((H, W), np.uint8)
        save(tmp_path / f"CT/1/Ground/m{k}.png", labels)
    forget_listings()
    card = load_card("chaos-ct")
    result = read_case(card, find_cases(card, tmp_path)[0], tmp_path)
    assert [s.index for s in result.slices] == [D - 2, D - 1]


def test_volumes_off_their_grid_are_refused_and_rounding_is_not(making, tmp_path):
    tree = making.scans(1)
    tree.nifti("imagesTr/off.nii.gz", making.volume(7))
    tree.nifti("labelsTr/off.nii.gz", making.ball(), shift_mm=3.0)
    tree.nifti("imagesTr/rounded.nii.gz", making.volume(8))
    tree.nifti("labelsTr/rounded.nii.gz", making.ball(), shift_mm=0.01)
    cut = tree.nifti("imagesTr/cut.nii.gz", making.volume(9))
    cut.write_bytes(cut.read_bytes()[:20000])
    tree.nifti("labelsTr/cut.nii.gz", making.ball())
    curate([CuratedSource(parse_card(making.card_3d(), "t"), tree.root)], tmp_path / "s")
    assert making.reasons(tmp_path / "s") == {"off": "mask on another grid", "cut": "unreadable image"}
    assert set(Store(tmp_path / "s").catalogue["case"].to_pylist()) == {"c00", "rounded"}
