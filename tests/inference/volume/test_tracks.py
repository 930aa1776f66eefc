"""Tracks: boxes between marked slices, the way of a 3D box, and the box for the next slice."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.errors import PromptError
from medsam.imaging.frame import Frame
from medsam.imaging.prompts import Prompt
from medsam.inference.volume.tracks import cut_ellipsoid, follow_in, interpolate_boxes, make_tracks, track_neighbours

SHAPE = (10, 100, 100)


def test_corners_move_linearly_between_marked_slices():
    filled = interpolate_boxes({2: (0, 0, 10, 10), 6: (8, 4, 18, 30)})
    assert filled == {
        2: (0, 0, 10, 10),
        3: (2, 1, 12, 15),
        4: (4, 2, 14, 20),
        5: (6, 3, 16, 25),
        6: (8, 4, 18, 30),
    }


def test_one_marked_slice_and_none_stay_as_they_are():
    assert interpolate_boxes({5: (1, 2, 3, 4)}) == {5: (1, 2, 3, 4)}
    assert interpolate_boxes({}) == {}


def test_a_box_reaches_up_to_the_next_box_of_its_label_only_when_asked():
    prompts = [
        Prompt(1, slice=6, box=(8, 0, 18, 10)),
        Prompt(2, slice=3, box=(50, 50, 60, 60)),
        Prompt(1, slice=4, box=(4, 0, 14, 10)),
        Prompt(1, slice=8, points=((1, 1),), point_labels=(1,)),
    ]
    assert [list(track.given) for track in make_tracks(prompts, SHAPE)] == [[6], [3], [4], [8]]
    last, other, first, click = make_tracks(prompts, SHAPE, interpolate=True)
    assert [list(track.upwards) for track in (last, other, first, click)] == [[6], [3], [4, 5], [8]]
    assert first.given[5].box == (6, 0, 16, 10) and first.given[5].label == 1


def test_two_boxes_of_one_label_on_a_slice_cannot_be_interpolated():
    prompts = [Prompt(3, slice=2, box=(0, 0, 9, 9)), Prompt(3, slice=2, box=(20, 20, 30, 30))]
    assert len(make_tracks(prompts, SHAPE)) == 2
    with pytest.raises(PromptError, match="two boxes of label 3 on slice 2"):
        make_tracks(prompts, SHAPE, interpolate=True)


def test_a_3d_box_starts_in_the_middle_and_goes_to_both_ends():
    (track,) = make_tracks([Prompt(4, box_3d=(0, 0, 3, 9, 9, 8), name="cyst", color=(1, 2, 3))], SHAPE)
    assert track.start == 5 and track.given[5].box == (0, 0, 9, 9) and track.limit == (0, 0, 9, 9)
    assert list(track.upwards) == [5, 6, 7, 8] and list(track.downwards) == [4, 3]
    assert (track.label, track.name, track.color) == (4, "cyst", (1, 2, 3))


def test_a_3d_box_also_asks_for_the_cuts_of_its_ellipsoid():
    box = (0.0, 10.0, 100.0, 50.0)
    cuts = cut_ellipsoid(box, 3, 7)
    assert list(cuts) == [3, 4, 5, 6, 7] and cuts[5] == cuts[4] == cuts[6] == box
    share = 1.15 * (1 - 0.8**2) ** 0.5  # the first slice lies at four fifths of the way from the middle to the end
    assert cuts[3] == cuts[7] == pytest.approx((50 - 50 * share, 30 - 20 * share, 50 + 50 * share, 30 + 20 * share))
    deep = cut_ellipsoid(box, 0, 999)
    assert deep[0] == pytest.approx((27, 20.8, 73, 39.2)), "no less than 0.4 of the box, and 1.15 times that"
    assert cut_ellipsoid(box, 4, 4) == {4: box}
    assert cut_ellipsoid((5, 5, 6, 6), 0, 9)[0] == (5, 5, 6, 6), "never under a pixel"
    (track,) = make_tracks([Prompt(4, box_3d=(0, 10, 3, 100, 50, 7))], (10, 100, 101))
    assert track.also == cuts


def test_the_next_box_is_three_pixels_wider_at_256_and_stays_in_the_3d_box():
    mask = np.zeros((512, 1024), bool)
    mask[100:201, 300:501] = True
    frame = Frame(512, 1024, 256, "pad")  # a model pixel is 4 slice pixels: 3 are 12
    assert follow_in((0, 0, 1024, 512))(mask, frame, (0, 0, 1, 1)) == (288, 88, 512, 212)
    squashed = Frame(512, 1024, 1024, "squash")
    assert follow_in((0, 0, 1024, 512))(mask, squashed, (0, 0, 1, 1)) == (288, 94, 512, 206)
    assert follow_in((290, 90, 500, 400))(mask, frame, (0, 0, 1, 1)) == (290, 90, 500, 212)


def test_an_empty_mask_gives_the_3d_box_and_one_pixel_at_its_edge_a_box_of_a_pixel():
    limit = (10.0, 10.0, 20.0, 20.0)
    mask, frame = np.zeros((100, 100), bool), Frame(100, 100, 25600, "squash")  # hardly any margin
    assert follow_in(limit)(mask, frame, (1, 2, 3, 4)) == limit
    mask[12, 20] = True
    x0, y0, x1, y1 = follow_in(limit)(mask, frame, limit)
    assert x1 - x0 >= 1 and x0 >= 10 and x1 <= 20 and y1 - y0 >= 1


def test_a_right_slice_leads_to_its_neighbours_and_is_not_reached_itself():
    mask = np.zeros((100, 100), bool)
    mask[40:50, 30:60] = True
    frame = Frame(100, 100, 256, fit="pad")
    up, down = track_neighbours(mask, 3, (2, 5, 6), frame)
    assert (up.start, up.slices, list(up.upwards), list(up.downwards)) == (6, (6, 6), [6], [])
    assert (down.start, down.slices, list(down.upwards), list(down.downwards)) == (4, (2, 4), [4], [3, 2])
    assert up.given[6].box == down.given[4].box == pytest.approx((28.828, 38.828, 60.172, 50.172), abs=0.01)
    assert down.follow is not None and down.follow(np.zeros((100, 100), bool), frame, (1, 2, 3, 4)) is None
    assert not up.sure and up.least_share == down.least_share == 0.5
    assert [track.start for track in track_neighbours(mask, 3, (5, 5, 9), frame)] == [6]


def test_no_mask_and_no_free_neighbour_are_told():
    mask = np.zeros((100, 100), bool)
    with pytest.raises(PromptError, match="is not on slice 5"):
        track_neighbours(mask, 3, (2, 5, 6), Frame(100, 100, 256))
    mask[1, 1] = True
    with pytest.raises(PromptError, match="no slice beside"):
        track_neighbours(mask, 3, (5, 5, 5), Frame(100, 100, 256))
