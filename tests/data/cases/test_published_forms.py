"""Forms of published sets: readings of several readers, outlines, raw pixels, arrays."""

from __future__ import annotations

import numpy as np
import pytest
from published_layouts import make

from medsam.data.cards.card import load_card
from medsam.data.cases.case import read_case
from medsam.data.cases.paths import find_cases, forget_listings
from medsam.data.cases.published_forms import load_outlines, read_npy_image, read_npy_mask, read_outlines, read_raw
from medsam.errors import InputFileError
from medsam.imaging.image import Grid
from medsam.imaging.modality import Modality


def test_lidc_voxels_need_two_readers_and_exclude_the_outline(tmp_path):
    series = "LIDC-IDRI-0001/01-01-2000-30178/3000566.000000-03192"
    make(tmp_path, f"dicom {series}")
    make(tmp_path, f"lidc {series}/069.xml")
    forget_listings()
    card = load_card("lidc-idri")
    result = read_case(card, find_cases(card, tmp_path)[0], tmp_path)
    assert [s.index for s in result.slices] == [1, 2, 3, 4, 5]
    assert {(p.area_px, p.box) for s in result.slices for p in s.pairs} == {(19 * 19, (11, 6, 29, 24))}


def test_raw_pixels_are_turned_so_that_bone_is_bright(tmp_path):
    stored = np.full((2048, 2048), 4095, ">u2")
    stored[0, :3] = 0, 95, 5000  # above 12 bits counts as 4095
    stored.tofile(tmp_path / "a.IMG")
    image = read_raw(tmp_path / "a.IMG", Modality.XRAY)
    assert image.values[0, 0, :4].tolist() == [4095, 4000, 0, 0]
    (tmp_path / "a.IMG").write_bytes(b"\0" * 100)
    with pytest.raises(InputFileError, match="has 100 bytes; expected 8388608"):
        read_raw(tmp_path / "a.IMG", Modality.XRAY)


def test_arrays_are_pictures_in_0_to_1_and_labels_from_0(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([[0, 0.5, 1]]))
    assert read_npy_image(path, Modality.CT).values.tolist() == [[[0, 128, 255]]]  # 127.5 rounds to even
    np.save(path, np.array([[0, 300]]))
    assert read_npy_mask(path).labels.tolist() == [[[0, 300]]]
    with pytest.raises(InputFileError, match="holds int64"):
        read_npy_image(path, Modality.CT)
    for values in ([[0, 1.5]], [[0, np.nan]]):
        np.save(path, np.array(values))
        with pytest.raises(InputFileError, match="outside"):
            read_npy_image(path, Modality.CT)
        with pytest.raises(InputFileError, match=r"\(H, W\) labels"):
            read_npy_mask(path)


def test_outlines_are_filled_in_their_order_and_short_ones_left_out(tmp_path):
    make(tmp_path, "aperio a.xml")  # two rectangles of 16 x 21 pixels
    mask = read_outlines(tmp_path / "a.xml", Grid((1, 48, 96)))
    assert [(int((mask.labels == i).sum()), int(np.argwhere(mask.labels[0] == i)[:, 1].min())) for i in (1, 2)] == [
        (16 * 21, 5),
        (16 * 21, 40),
    ]
    make(tmp_path, "plist b.xml")  # one rectangle, and a single point
    assert [points.tolist() for points in load_outlines(tmp_path / "b.xml")] == [[[5, 5], [40, 5], [40, 30], [5, 30]]]
    for text, said in (("<a>", "is not XML"), ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities")):
        (tmp_path / "c.xml").write_text(text)
        with pytest.raises(InputFileError, match=said):
            load_outlines(tmp_path / "c.xml")
