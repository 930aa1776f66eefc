"""An object is followed from the prompted slices until it ends, and corrected where it is prompted again."""

from __future__ import annotations

import numpy as np
import pytest
from bright import bright_predictor

from medsam.errors import PromptError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.prompts import Prompt
from medsam.inference.volume.segment import segment
from medsam.inference.volume.spread import spread

SHAPE = (12, 64, 64)


def tube(*, last: int = 8) -> np.ndarray:
    """A bright block on slices 2 to last, with another one far away on all slices."""
    values = np.zeros(SHAPE, np.uint8)
    values[2 : last + 1, 25:39, 18:34] = 200
    values[:, 2:8, 50:60] = 220
    return values


def image_of(values: np.ndarray) -> Image:
    return Image(values, Grid(SHAPE), normalized=True)


def alone(values: np.ndarray) -> np.ndarray:
    mask = values > 127
    mask[:, 2:8, 50:60] = False
    return mask


BOX = Prompt(1, slice=5, box=(16, 23, 36, 41))


@pytest.mark.parametrize("last", [8, 11])
def test_a_box_on_one_slice_gives_the_whole_object_and_nothing_else(last: int) -> None:
    values = tube(last=last)
    found = spread(bright_predictor(), image_of(values), [BOX]).mask.labels > 0
    assert np.array_equal(found, alone(values))


def test_slices_beyond_the_end_are_not_encoded() -> None:
    predictor = bright_predictor()
    seen: list[tuple[int, int | None]] = []
    spread(predictor, image_of(tube(last=6)), [BOX], progress=lambda done, total: seen.append((done, total)))
    assert predictor.runtime.encoded < SHAPE[0] and seen[-1] == (SHAPE[0], SHAPE[0])


def test_a_jump_to_another_structure_ends_the_object() -> None:
    values = tube(last=6)
    values[7:, 34:39, 26:34] = 200  # of the block only a corner goes on
    found = spread(bright_predictor(), image_of(values), [BOX]).mask.labels > 0
    assert found[6].any() and not found[7:].any()


def test_points_alone_spread_and_another_axis_is_another_way_through_the_voxels() -> None:
    values = np.zeros(SHAPE, np.uint8)
    values[2:7, 20:40, 18:34] = 200
    click = Prompt(1, slice=4, points=((25, 30),), point_labels=(1,))
    assert np.array_equal(spread(bright_predictor(), image_of(values), [click]).mask.labels > 0, values > 0)
    side = Prompt(1, slice=25, box=(18, 1, 41, 8))  # across columns: x is the row, y the slice
    found = spread(bright_predictor(), image_of(values), [side], plane=2).mask.labels > 0
    assert np.array_equal(found, values > 0)


def test_a_prompt_where_the_object_is_corrects_that_slice_alone_and_one_beyond_goes_on_up_to_it() -> None:
    values = tube()
    image, predictor = image_of(values), bright_predictor()
    first = spread(predictor, image, [BOX]).mask
    labels = first.labels.copy()
    labels[8] = 0
    labels[5, 28:32] = 0
    cut = Mask(labels, image.grid)
    again = spread(predictor, image, [BOX], previous=cut).mask.labels
    assert np.array_equal(again[5], first.labels[5]) and not again[8].any()
    beyond = spread(predictor, image, [Prompt(1, slice=8, box=(16, 23, 36, 41))], previous=cut).mask.labels
    assert np.array_equal(beyond[8], first.labels[8]) and np.array_equal(beyond[:8], labels[:8])


def test_two_prompted_slices_share_the_way_between_them() -> None:
    values = tube()
    both = [Prompt(1, slice=3, box=(16, 23, 36, 41)), Prompt(1, slice=7, box=(16, 23, 36, 41))]
    found = spread(bright_predictor(), image_of(values), both)
    assert np.array_equal(found.mask.labels > 0, alone(values))
    assert [sorted(one) for one in found.slice_scores] == [[2, 3, 4, 5], [6, 7, 8]]


def test_a_box_and_points_of_one_slice_count_as_one_prompt() -> None:
    image = image_of(tube())
    apart = [BOX, Prompt(1, slice=5, points=((25, 30),), point_labels=(1,))]
    together = Prompt(1, slice=5, box=BOX.box, points=((25, 30),), point_labels=(1,))
    one = spread(bright_predictor(), image, apart)
    assert len(one.scores) == 1
    assert np.array_equal(one.mask.labels, spread(bright_predictor(), image, [together]).mask.labels)


def test_a_3d_box_is_what_the_engine_makes_of_it() -> None:
    image, solid = image_of(tube()), Prompt(1, box_3d=(16, 20, 3, 36, 44, 6))
    own = segment(bright_predictor(), image, [solid]).mask.labels
    assert np.array_equal(spread(bright_predictor(), image, [solid]).mask.labels, own) and own.any()
    with pytest.raises(PromptError):
        spread(bright_predictor(), image, [])
