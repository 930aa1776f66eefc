"""The simulated reader and the time model."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.annotation.study.simulated_reader import Reader, TimeModel, choose_slices, draw_markers
from medsam.errors import PromptError
from medsam.imaging.image import Grid, Mask


def test_first_and_last_slice_are_always_marked():
    assert choose_slices(list(range(10, 21)), 3) == [10, 13, 16, 19, 20]
    assert choose_slices(list(range(10, 21)), 5) == [10, 15, 20]
    assert choose_slices([4], 5) == [4]
    assert choose_slices([0, 1, 5, 6], 3) == [0, 1, 6]  # slice 3 shows nothing; 1 is as near as 5


def ball():
    z, y, x = np.mgrid[:11, :40, :40]
    labels = (((z - 5) * 3) ** 2 + (y - 20) ** 2 + (x - 18) ** 2 <= 14**2).astype(np.uint8)
    return Mask(labels, Grid(labels.shape, spacing_mm=(3, 1, 1)))


def test_lines_without_jitter_end_on_the_object():
    mask = ball()
    for marker in draw_markers(mask, Reader(every=3, jitter_mm=0)):
        long_start, long_stop, *_ = marker.points_xy
        for x, y in (long_start, long_stop):
            assert mask.labels[marker.slice, round(y), round(x)] == 1
        rows, columns = np.nonzero(mask.labels[marker.slice])
        x0, y0, x1, y1 = marker.box
        assert columns.min() <= x0 <= x1 <= columns.max()
        assert rows.min() <= y0 <= y1 <= rows.max()


def test_widest_slice_is_marked_on_request():
    assert [m.slice for m in draw_markers(ball(), Reader(every=9, jitter_mm=0))] == [1, 9]
    assert [m.slice for m in draw_markers(ball(), Reader(every=9, jitter_mm=0, widest=True))] == [1, 5, 9]


def test_jitter_is_in_mm_and_repeats_with_its_seed():
    drawn = {seed: draw_markers(ball(), Reader(every=2, jitter_mm=2, seed=seed)) for seed in (0, 1)}
    assert drawn[0] == draw_markers(ball(), Reader(every=2, jitter_mm=2, seed=0)) != drawn[1]
    still = draw_markers(ball(), Reader(every=2, jitter_mm=0))
    moves = np.concatenate([np.array(a.points_xy) - b.points_xy for a, b in zip(drawn[0], still, strict=True)])
    assert 1 < moves.std() < 3


def test_time_model_by_hand():
    times = TimeModel(draw=60, mark=10, check=3, correct=30)
    assert times.manual(20) == 1200
    assert times.assisted(slices=20, marked=5, corrected=2, model=30) == 50 + 30 + 60 + 60


def test_empty_mask_and_impossible_readers_are_refused():
    with pytest.raises(PromptError):
        draw_markers(Mask(np.zeros((2, 4, 4), np.uint8), Grid((2, 4, 4))), Reader())
    with pytest.raises(PromptError):
        Reader(every=0)
    with pytest.raises(PromptError):
        Reader(jitter_mm=-1)
