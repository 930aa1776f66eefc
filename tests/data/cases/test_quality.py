"""Objects, size rules, hashes and the look for text, on arrays a reader can count."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.data.cases.quality import (
    Fault,
    check_grid,
    check_mask,
    compute_perceptual_hash,
    find_objects,
    find_suspect_text,
    find_values,
)
from medsam.imaging.image import Grid


def blocks() -> np.ndarray:
    labels = np.zeros((4, 40, 40), dtype=np.uint8)
    labels[0:3, 2:22, 2:22] = 1  # 400 pixels on 3 slices: 1200 voxels
    labels[1, 30:35, 30:35] = 1  # 25 voxels
    labels[3, 20:31, 20:30] = 1  # 110 pixels, touches nothing at slice 2 but the corner (21, 21): 26-connected
    return labels


def test_three_d_objects_are_26_connected_and_tiny_ones_go():
    found = find_objects(blocks() == 1, None, whole=False, three_d=True)
    assert found.areas_read.tolist() == [[0, 400, 0], [0, 400, 25], [0, 400, 0], [0, 110, 0]]
    assert found.areas_kept.tolist() == [[0, 400, 0], [0, 400, 0], [0, 400, 0], [0, 110, 0]]
    assert found.tiny.tolist() == [False, False, True]


def test_two_d_objects_are_8_connected_and_tiny_ones_go():
    labels = np.zeros((1, 40, 40), dtype=bool)
    labels[0, 0:10, 0:10] = labels[0, 10:20, 10:20] = True  # touch at a corner
    labels[0, 30:39, 30:39] = True  # 81 pixels
    found = find_objects(labels, None, whole=False, three_d=False)
    assert found.areas_read.tolist() == [[0, 200, 81]]
    assert found.areas_kept.tolist() == [[0, 200, 0]]


def test_whole_targets_stay_one_object_without_their_specks():
    labels = np.zeros((1, 40, 60), dtype=bool)
    labels[0, 0:20, 0:20] = labels[0, 0:20, 30:50] = True
    labels[0, 38:40, 58:60] = True
    found = find_objects(labels, None, whole=True, three_d=False)
    assert found.areas_read.tolist() == [[0, 804]]
    assert found.areas_kept.tolist() == [[0, 800]]


def test_instances_keep_their_numbers_though_they_touch():
    ids = np.zeros((1, 30, 30), dtype=np.uint16)
    ids[0, 0:15, 0:15], ids[0, 0:15, 15:30], ids[0, 20:25, 0:5] = 300, 7, 9
    found = find_objects(ids > 0, ids, whole=False, three_d=False)
    assert found.areas_kept.tolist() == [[0, 225, 0, 225]]  # 7, 9 (25 pixels, gone), 300
    assert find_objects(ids > 1000, ids, whole=False, three_d=False) is None


def test_a_grid_may_be_half_a_voxel_off_and_no_more():
    image = Grid((4, 8, 8), spacing_mm=(5, 1, 1))
    moved = np.array(image.affine)
    moved[0, 3] = 0.4
    check_grid(Grid((4, 8, 8), affine=moved), image, shape_only=False)
    moved[0, 3] = 0.6
    with pytest.raises(Fault, match=r"0.6 mm off"):
        check_grid(Grid((4, 8, 8), affine=moved), image, shape_only=False)
    check_grid(Grid((4, 8, 8), affine=moved), image, shape_only=True)
    with pytest.raises(Fault, match="shape"):
        check_grid(Grid((4, 8, 9)), image, shape_only=True)


def test_a_picture_is_not_taken_for_a_mask_and_instances_are():
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64))
    with pytest.raises(Fault, match="neighbouring labels differ"):
        check_mask(noise, np.zeros((1, 64, 64)), find_values(noise), 0)
    ramp = np.tile(np.arange(64), (64, 1))[None]
    with pytest.raises(Fault, match="those of the image"):
        check_mask(ramp, ramp, find_values(ramp), 0)
    nuclei = np.kron(np.arange(1, 65).reshape(1, 8, 8), np.ones((1, 8, 8), dtype=int))
    check_mask(nuclei, np.zeros_like(nuclei), find_values(nuclei), 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_values_of_labels_are_all_that_occur(dtype):
    labels = np.array([[[0, 7, 7], [200, 3, 0]]], dtype=dtype)
    assert find_values(labels).tolist() == [0, 3, 7, 200]


def test_a_hash_survives_scaling_and_light_and_tells_pictures_apart(making):
    from PIL import Image as Picture

    first, second = making.picture(1, 200, 240), making.picture(2, 200, 240)
    copy = np.asarray(
        Picture.fromarray(np.clip(first.astype(int) // 2 + 40, 0, 255).astype(np.uint8)).resize((120, 100))
    )

    def distance(a: np.ndarray, b: np.ndarray) -> int:
        pair = [np.frombuffer(compute_perceptual_hash(x[..., None]), np.uint8) for x in (a, b)]
        return int(np.bitwise_count(pair[0] ^ pair[1]).sum())

    assert distance(first, copy) <= 15
    assert distance(first, second) > 60


def test_text_is_suspected_where_letters_stand_in_a_row():
    from PIL import Image as Picture
    from PIL import ImageDraw, ImageFont

    canvas = Picture.new("L", (300, 200), 20)
    assert not find_suspect_text(np.asarray(canvas)[..., None])
    ImageDraw.Draw(canvas).text((20, 20), "NAME 1956", fill=250, font=ImageFont.load_default(18))
    assert find_suspect_text(np.asarray(canvas)[..., None])
    assert not find_suspect_text(np.full((50, 50, 3), 255, dtype=np.uint8))
