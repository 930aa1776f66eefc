"""Volumes with a runtime whose masks can be worked out: what is brighter than 127 inside the box."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsam.errors import IntensityError, PromptError
from medsam.imaging.image import Grid, Image
from medsam.inference.cache import EmbeddingCache
from medsam.inference.volume.objects import segment_volume
from medsam.inference.volume.tracks import cut_ellipsoid

WHOLE = (0, 0, 255, 255)


@pytest.fixture
def ball() -> Image:
    """A bright ball of radius 5 slices and 50 pixels around (z 6, y 128, x 100) in 12 x 256 x 256."""
    z, y, x = np.mgrid[:12, :256, :256]
    inside = ((z - 6) / 5) ** 2 + ((y - 128) / 50) ** 2 + ((x - 100) / 50) ** 2 <= 1
    affine = np.array([[0, 0, 0.5, 10], [0, 0.5, 0, 20], [3, 0, 0, 30], [0, 0, 0, 1]])
    return Image(np.where(inside, np.uint8(220), np.uint8(30)), Grid(inside.shape, affine=affine), normalized=True)


def bright_voxels(image: Image) -> np.ndarray:
    return image.values > 127


def test_boxes_segment_their_slices_and_no_others(bright, ball):
    mask = segment_volume(bright, ball, boxes={5: [WHOLE], 7: [WHOLE]})
    expected = bright_voxels(ball).astype(np.uint8)
    expected[[k for k in range(12) if k not in (5, 7)]] = 0
    assert mask.labels.dtype == np.uint8 and (mask.labels == expected).all()
    assert mask.grid is ball.grid and bright.runtime.encoded == 2


@pytest.mark.parametrize(
    "box",
    [
        WHOLE,
        list(WHOLE),
        np.array(WHOLE),
        np.array([WHOLE]),
        torch.tensor(WHOLE),
        torch.tensor([WHOLE]),
        [torch.tensor(WHOLE)],
    ],
)
def test_four_numbers_on_a_slice_are_one_box(bright, ball, box):
    mask = segment_volume(bright, ball, boxes={5: box})
    assert (mask.labels == segment_volume(bright, ball, boxes={5: [WHOLE]}).labels).all() and mask.labels.any()


def test_box_i_becomes_label_i_plus_1_and_a_slice_is_encoded_once_for_all(bright, ball):
    left, right = (0, 0, 99, 255), (100, 0, 255, 255)
    mask = segment_volume(bright, ball, boxes={6: [left, right], 7: [None, right]})
    ys, xs = np.nonzero(bright_voxels(ball)[6])
    assert (mask.labels[6, ys, xs] == np.where(xs <= 99, 1, 2)).all()
    assert mask.ids == (1, 2) and set(np.unique(mask.labels[7])) == {0, 2}
    assert bright.runtime.encoded == 2


def test_boxes_between_marked_slices_move_linearly(bright, ball):
    mask = segment_volume(bright, ball, boxes={4: [(80, 0, 100, 255)], 8: [(100, 0, 120, 255)]}, interpolate=True)
    columns = {k: np.flatnonzero(mask.labels[k].any(axis=0)) for k in range(4, 9)}
    assert {k: (int(c[0]), int(c[-1])) for k, c in columns.items()} == {
        4 + i: (80 + 5 * i, 100 + 5 * i) for i in range(5)
    }
    assert not mask.labels[:4].any() and not mask.labels[9:].any()


def test_a_3d_box_follows_the_object_up_and_down(bright, ball):
    mask = segment_volume(bright, ball, box3d=[(50, 78, 1, 150, 178, 11)])
    assert (mask.labels == bright_voxels(ball)).all()
    assert bright.runtime.encoded == 11


def test_no_voxel_lies_outside_a_3d_box_and_the_box_does_not_drift(bright):
    values = np.full((9, 256, 256), 20, np.uint8)
    for k in range(9):
        values[k, 100:120, 100 + 2 * k : 120 + 2 * k] = 200  # two pixels to the right on each slice
    image = Image(values, Grid(values.shape), normalized=True)
    mask = segment_volume(bright, image, box3d=[(105.4, 102, 1, 121.6, 119, 7)])
    expected = values > 127
    expected[:, :, :106], expected[:, :, 122:], expected[:, :102] = False, False, False  # pixels by their centres
    expected[[0, 8]] = False
    for k, (x0, y0, x1, y1) in cut_ellipsoid((105.4, 102, 121.6, 119), 1, 7).items():  # both boxes must say so
        expected[k, :, : int(np.ceil(x0))], expected[k, :, int(x1) + 1 :] = False, False
        expected[k, : int(np.ceil(y0))], expected[k, int(y1) + 1 :] = False, False
    assert (mask.labels == expected).all()


def test_3d_boxes_with_different_middles_share_the_embeddings(bright, ball):
    mask = segment_volume(bright, ball, box3d=[(50, 78, 1, 99, 178, 5), (100, 78, 4, 150, 178, 11)])
    assert bright.runtime.encoded == 11 and mask.ids == (1, 2)


@pytest.mark.parametrize("depth", [60, 220])
def test_slices_that_both_sweeps_need_are_encoded_once_in_memory_or_through_a_folder(bright, depth):
    values = np.full((depth, 64, 64), 200, np.uint8)
    values[:, 0] = np.arange(depth)[:, None]  # no two slices alike
    image = Image(values, Grid(values.shape), normalized=True)
    third = depth // 3  # the slices of the middle third: 20 are kept in memory, 73 go to a folder
    mask = segment_volume(
        bright, image, box3d=[(0, 1, 0, 30.9, 64, 2 * third), (32, 1, third, 64, 64, depth - 1)], progress=False
    )
    assert bright.runtime.encoded == depth
    assert (mask.labels[: 2 * third + 1, 20:44, 10:21] == 1).all() and (mask.labels[third:, 20:44, 42:54] == 2).all()


def test_points_of_one_object_and_of_several(bright, ball):
    flat = segment_volume(bright, ball, points={6: [(100, 128, 1), (5, 5, 0)]})
    assert (flat.labels[6] == bright_voxels(ball)[6]).all() and flat.ids == (1,)
    nested = segment_volume(bright, ball, boxes={6: [WHOLE]}, points={6: [[], [(100, 128, 1)]], 7: [[(100, 128, 1)]]})
    assert set(np.unique(nested.labels[6])) == {0, 2} and set(np.unique(nested.labels[7])) == {0, 1}


def test_label_ids_may_be_chosen(bright, ball):
    mask = segment_volume(bright, ball, boxes={6: [(0, 0, 99, 255), (100, 0, 255, 255)]}, labels=[7, 300])
    assert mask.ids == (7, 300) and mask.labels.dtype == np.uint16


@pytest.mark.parametrize(("plane", "axis"), [("coronal", 1), ("sagittal", 2), (1, 1), ("axial", 0)])
def test_slices_of_any_plane(bright, ball, plane, axis):
    height, width = (n for i, n in enumerate(ball.grid.shape) if i != axis)
    mask = segment_volume(bright, ball, boxes={6 if axis == 0 else 110: [(0, 0, width, height)]}, plane=plane)
    taken = np.moveaxis(mask.labels, axis, 0)[6 if axis == 0 else 110]
    expected = np.moveaxis(bright_voxels(ball), axis, 0)[6 if axis == 0 else 110]
    assert mask.labels.shape == ball.grid.shape and mask.labels.sum() == taken.sum()
    assert expected.sum() > 0 and 2 * (taken & expected).sum() / (taken.sum() + expected.sum()) > 0.98


def test_a_memory_mapped_volume_is_read_slice_by_slice(bright, ball, tmp_path):
    np.save(tmp_path / "ball.npy", ball.values)
    mapped = Image(np.load(tmp_path / "ball.npy", mmap_mode="r"), ball.grid, normalized=True)
    boxes = {k: [WHOLE] for k in range(12)}
    assert (
        segment_volume(bright, mapped, boxes=boxes).labels == segment_volume(bright, ball, boxes=boxes).labels
    ).all()


def test_a_second_prompt_on_the_same_scan_encodes_nothing(bright, ball, tmp_path):
    cache = EmbeddingCache(tmp_path)
    segment_volume(bright, ball, boxes={k: [WHOLE] for k in range(4)}, cache=cache)
    assert bright.runtime.encoded == 4
    mask = segment_volume(bright, ball, boxes={k: [(0, 0, 120, 255)] for k in range(4)}, cache=cache)
    segment_volume(bright, ball, box3d=[(50, 78, 0, 150, 178, 3)], cache=cache)
    assert bright.runtime.encoded == 4 and mask.labels.any()


def test_progress_counts_slices(bright, ball):
    seen: list[tuple[int, int]] = []
    segment_volume(
        bright, ball, boxes={k: [WHOLE] for k in (1, 5, 9)}, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    segment_volume(bright, ball, boxes={1: [WHOLE]}, progress=True)


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ({}, "no prompts"),
        ({"boxes": {}}, "no prompts"),
        ({"boxes": {3: []}}, "no prompts"),
        ({"boxes": {12: [WHOLE]}}, "slice is 12"),
        ({"boxes": {-1: [WHOLE]}}, "slice is -1"),
        ({"boxes": {1.5: [WHOLE]}}, "slice is 1.5"),
        ({"boxes": {1: [(0, 0, 300, 10)]}}, "leaves the image"),
        ({"boxes": {1: [[WHOLE, WHOLE]]}}, "2 boxes in place of one"),
        ({"boxes": {1: [WHOLE]}, "box3d": [(0, 0, 0, 9, 9, 9)]}, "3D boxes together with"),
        ({"points": {1: [(1, 2)]}}, "x, y, 1 (inside)"),
        ({"points": {1: [(1, 999, 1)]}}, "leaves the image"),
        ({"boxes": {1: [WHOLE, WHOLE]}, "labels": [3]}, "labels are [3]"),
        ({"boxes": {1: [WHOLE]}, "labels": [0]}, "labels are [0]"),
        ({"boxes": {1: [WHOLE]}, "plane": 3}, "plane is 3"),
        ({"boxes": {1: [WHOLE]}, "overlap": "foo"}, "overlap is 'foo'"),
        ({"boxes": [WHOLE]}, "boxes are a list; expected a dict of slices; pass boxes={slice:"),
        ({"boxes": {1: 7}}, "pass boxes={slice:"),
        ({"boxes": {1: (0, 0, 9)}}, "pass boxes={slice:"),
        ({"boxes": {1: ["abcd"]}}, "pass boxes={slice:"),
        ({"points": [(1, 2, 1)]}, "points are a list; expected a dict of slices; pass points={slice:"),
        ({"box3d": ["abcdef"]}, "pass box3d=["),
        ({"box3d": [(0, 0, 0, 9, 9)]}, "pass box3d=["),
        ({"box3d": 7}, "pass box3d=["),
        ({"box3d": (0, 0, 0, 9, 9)}, "pass box3d=["),
    ],
)
def test_prompts_that_do_not_fit_the_volume_are_refused_before_anything_is_encoded(bright, ball, prompts, words):
    with pytest.raises(PromptError) as caught:
        segment_volume(bright, ball, **prompts)
    assert words in str(caught.value) and bright.runtime.encoded == 0


def test_a_volume_that_is_not_normalized_is_refused(bright):
    raw = Image(np.zeros((3, 8, 8), np.int16), Grid((3, 8, 8)))
    with pytest.raises(IntensityError, match="normalize"):
        segment_volume(bright, raw, boxes={1: [(0, 0, 8, 8)]})


def test_one_voxel_and_rgb_volumes_work(bright):
    assert segment_volume(
        bright, Image(np.full((1, 1, 1), 255, np.uint8), Grid((1, 1, 1))), boxes={0: [(0, 0, 1, 1)]}
    ).labels.all()
    colour = Image(np.full((2, 8, 8, 3), 255, np.uint8), Grid((2, 8, 8)))
    assert segment_volume(bright, colour, boxes={1: [(0, 0, 8, 8)]}).labels[1].all()


def test_six_numbers_are_one_3d_box(bright, ball):
    solid = (0, 0, 3, 255, 255, 8)
    wanted = segment_volume(bright, ball, box3d=[solid]).labels
    assert wanted.any()
    for one in (solid, list(solid), np.array(solid), torch.tensor(solid), torch.tensor([solid])):
        assert np.array_equal(segment_volume(bright, ball, box3d=one).labels, wanted)
