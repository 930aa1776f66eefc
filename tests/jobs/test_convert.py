"""Slices to pictures, masks and images kept apart."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from command import medsam, refused
from medsam import Grid, Mask, read_mask, write_mask


@pytest.fixture
def ct(tmp_path):
    """Four slices; slice 2 runs from -160 to 240 HU along its rows, outside it is air."""
    hu = np.full((4, 5, 41), -1000, np.int16)
    hu[2] = np.linspace(-160, 240, 41)[None]
    nibabel.save(nibabel.Nifti1Image(hu.T, np.eye(4)), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def test_one_slice_of_a_ct_becomes_a_picture_in_its_window(ct, tmp_path):
    call = f"convert {ct} {tmp_path}/x.png --slice 2"
    assert refused(medsam(call), "--modality")
    assert (
        medsam(f"{call} --modality CT --window soft-tissue").out
        == f"{tmp_path}/x.png: image, 1 x 5 x 41 voxels, uint8\n"
    )
    values = np.asarray(Picture.open(tmp_path / "x.png"))
    assert values.shape == (5, 41)
    assert values[3].tolist() == np.rint(np.arange(41) * 255 / 40).astype(int).tolist()
    assert refused(medsam(f"{call} --modality CT --window lung"), "exists already")
    flags = "--modality CT --window lung --overwrite"
    assert refused(medsam(f"convert {ct} {tmp_path}/x.png --slice 4 {flags}"), "slice is 4")
    assert refused(medsam(f"convert {ct} {tmp_path}/x.nrrd --slice 2"), ".png")
    assert refused(medsam(f"convert {ct} {tmp_path}/y.png --kind image --modality MR"), "--slice K")


def test_a_plane_chooses_the_slices(ct, tmp_path):
    assert (
        medsam(f"convert {ct} {tmp_path}/x.png --plane sagittal --slice 40 --modality CT --window soft-tissue").code
        == 0
    )
    values = np.asarray(Picture.open(tmp_path / "x.png"))
    assert values.shape == (4, 5)
    assert (values[2] == 255).all()
    assert not values[[0, 1, 3]].any()


def test_one_slice_of_a_mask_becomes_a_mask(tmp_path):
    labels = np.zeros((3, 8, 9), np.uint8)
    labels[1, 2:5, 3:7] = 1
    write_mask(Mask(labels, Grid(labels.shape)), tmp_path / "m.nii.gz")
    assert refused(medsam(f"convert {tmp_path}/m.nii.gz {tmp_path}/m.png"), "3 slices", "--slice K")
    assert medsam(f"convert {tmp_path}/m.nii.gz {tmp_path}/m.png --slice 1 --kind mask").code == 0
    assert np.array_equal(read_mask(tmp_path / "m.png").labels[0], labels[1])
    answer = medsam(f"convert {tmp_path}/m.nii.gz {tmp_path}/m.nrrd --json --kind mask").json
    assert answer == {"output": f"{tmp_path}/m.nrrd", "kind": "mask", "shape": [3, 8, 9], "labels": {"1": ""}}


@pytest.mark.parametrize("white", [255, 65535])
def test_a_16_bit_png_of_black_and_white_is_taken_as_a_mask_with_a_word(tmp_path, white):
    pixels = np.zeros((6, 5), np.uint16)
    pixels[1:3, 2:4] = white
    Picture.fromarray(pixels).save(tmp_path / "u16.png")
    ended = medsam(f"convert {tmp_path}/u16.png {tmp_path}/m.nii.gz")
    assert (ended.code, "taken as a mask" in ended.err) == (0, True)
    assert np.array_equal(read_mask(tmp_path / "m.nii.gz").labels[0], pixels > 0)
