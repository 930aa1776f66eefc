"""The engine with a runtime whose masks can be worked out: what is brighter than 127 inside the box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medsam.errors import GeometryError, IntensityError, PromptError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor, load_predictor
from medsam.inference.volume.segment import segment

SOLID = (10, 10, 1, 59, 59, 5)  # a 3D box over slices 1 to 5, its middle is slice 3
LEFT, RIGHT = (10, 10, 39, 59), (30, 10, 59, 59)  # share columns 30 to 39


@pytest.fixture
def bar() -> Image:
    """A bright square of 50 x 50 at 10, 10 on each of 7 slices of 256 x 256."""
    values = np.full((7, 256, 256), 20, np.uint8)
    values[:, 10:60, 10:60] = np.arange(200, 207, dtype=np.uint8)[:, None, None]
    return Image(values, Grid(values.shape, (3.0, 1.0, 1.0)), normalized=True)


@pytest.mark.parametrize("flat_slice", [1, 2, 3, 4])
def test_of_a_3d_box_and_a_flat_one_on_a_slice_the_later_prompt_wins_both_ways(bright, bar, flat_slice):
    solid, flat = Prompt(1, box_3d=SOLID), Prompt(2, slice=flat_slice, box=LEFT)
    below, above = segment(bright, bar, [solid, flat]), segment(bright, bar, [flat, solid])
    assert (below.mask.labels[flat_slice, 10:60, 10:40] == 2).all()
    assert (below.mask.labels[flat_slice, 20:50, 40:50] == 1).all()  # the 3D box holds that much on every slice
    assert (above.mask.labels[flat_slice, 20:50, 20:50] == 1).all() and below.overlap == above.overlap == "later"
    assert bright.runtime.encoded == 2 * 5  # each slice of both runs once


def test_a_3d_box_has_a_score_like_every_prompt_and_one_for_each_slice(bright, bar):
    found = segment(bright, bar, [Prompt(1, box_3d=SOLID), Prompt(2, slice=6, box=LEFT)])
    solid, flat = found.slice_scores
    assert list(solid) == [1, 2, 3, 4, 5] and list(flat) == [6]
    assert found.scores == (pytest.approx(sum(solid.values()) / 5), flat[6])
    assert list(found.slice_boxes[0]) == [1, 2, 3, 4, 5] and found.slice_boxes[1] == {6: LEFT}


class SlowEncoder:
    """The bright runtime with an encoder of 20 ms a batch, so that the clock can tell."""

    def __init__(self, runtime) -> None:
        self.runtime, self.name, self.precision, self.batch_size = runtime, runtime.name, runtime.precision, 1

    def encode(self, image_B3SS):
        from time import sleep

        sleep(0.02)
        return self.runtime.encode(image_B3SS)

    def decode(self, features_1CHW, prompts, *, multimask):
        return self.runtime.decode(features_1CHW, prompts, multimask=multimask)


def test_encoding_is_booked_as_encoding_for_3d_boxes_too(bright, bar):
    slow = Predictor(SlowEncoder(bright.runtime), bright.manifest, weights="bright")
    mixed = segment(slow, bar, [Prompt(1, box_3d=SOLID), Prompt(2, slice=6, box=LEFT)]).seconds
    assert set(mixed) == {"encode", "decode"} and mixed["encode"] >= 6 * 0.02
    none = segment(slow, bar, [Prompt(2, slice=6, box=LEFT)]).seconds
    assert 0.02 <= none["encode"] < mixed["encode"]


def test_the_more_certain_object_wins_on_request(bright, bar):
    values = bar.values.copy()
    values[0, 10:60, 30:40] = 255
    image = replace(bar, values=values)
    # Equal logits inside both boxes: then the later one stays; outside its box an object's logit is -100.
    prompts = [Prompt(1, slice=0, box=RIGHT), Prompt(2, slice=0, box=LEFT)]
    found = segment(bright, image, prompts, overlap="certain")
    assert (found.mask.labels[0, 10:60, 30:40] == 2).all() and found.overlap == "certain"
    with pytest.raises(PromptError, match="overlap is 'first'"):
        segment(bright, image, prompts, overlap="first")


def test_interpolation_reaches_between_boxes_and_keeps_the_order_of_the_prompts(bright, bar):
    prompts = [Prompt(1, slice=0, box=LEFT), Prompt(2, slice=2, box=LEFT), Prompt(1, slice=4, box=RIGHT)]
    plain = segment(bright, bar, prompts).mask
    found = segment(bright, bar, prompts, interpolate=True)
    assert not plain.labels[[1, 3]].any()
    assert [np.flatnonzero(found.mask.labels[k].any(axis=0)).tolist()[0] for k in (0, 1, 3, 4)] == [10, 15, 25, 30]
    assert (found.mask.labels[2, 10:60, 20:40] == 2).all()  # drawn after the first box, from which slice 2 is reached
    assert [list(scores) for scores in found.slice_scores] == [[0, 1, 2, 3], [2], [4]]


def test_names_and_colours_of_prompts_go_into_the_mask(bright, bar):
    found = segment(
        bright, bar, [Prompt(3, slice=0, box=LEFT, name="cyst", color=(1, 2, 3)), Prompt(1, slice=0, box=RIGHT)]
    )
    assert dict(found.mask.names) == {3: "cyst"} and dict(found.mask.colors) == {3: (1, 2, 3)}


def test_any_plane_comes_back_on_the_images_own_grid(bright, bar):
    turned = replace(bar, values=np.moveaxis(bar.values, 0, 2), grid=Grid((256, 256, 7)))
    found = segment(bright, turned, [Prompt(1, box_3d=SOLID)], plane=2)
    assert found.mask.grid is turned.grid
    assert np.array_equal(
        found.mask.labels, np.moveaxis(segment(bright, bar, [Prompt(1, box_3d=SOLID)]).mask.labels, 0, 2)
    )


def test_a_cache_serves_both_sweeps(bright, bar, tmp_path):
    prompts = [
        Prompt(1, box_3d=SOLID),
        Prompt(2, box_3d=(10, 10, 0, 59, 59, 6)),
        Prompt(3, box_3d=(10, 10, 4, 59, 59, 6)),
    ]
    first = segment(bright, bar, prompts, cache=EmbeddingCache(tmp_path))
    assert bright.runtime.encoded == 7
    again = segment(bright, bar, prompts, cache=EmbeddingCache(tmp_path))
    assert bright.runtime.encoded == 7 and np.array_equal(first.mask.labels, again.mask.labels)


def test_an_image_without_prompts_or_without_windowing_is_refused(bright, bar):
    with pytest.raises(PromptError, match="no prompts"):
        segment(bright, bar, [])
    with pytest.raises(IntensityError):
        segment(bright, Image(bar.values.astype(np.int16), bar.grid), [Prompt(1, slice=0, box=LEFT)])
    with pytest.raises(PromptError, match="leaves the image"):
        segment(bright, bar, [Prompt(1, slice=0, box=(0, 0, 300, 9))])
    assert bright.runtime.encoded == 0


def test_a_click_for_weights_that_learnt_boxes_is_refused_and_says_which_models_answer(bright, bar):
    boxes_only = Predictor(bright.runtime, replace(bright.manifest, prompts=("box",)), weights="bright")
    click = Prompt(1, slice=0, points=((20, 20),), point_labels=(1,))
    with pytest.raises(
        PromptError, match=r"trained for box prompts only.*answers clicks: .*openmedsam-lite.*sam-vit-b"
    ):
        segment(boxes_only, bar, [click])
    assert bright.runtime.encoded == 0
    assert segment(boxes_only, bar, [replace(click, box=LEFT)]).mask.ids == (1,)
    assert segment(bright, bar, [click]).mask.ids == (1,)


def _previous(bar: Image) -> Mask:
    """Label 1 on all slices, half of the square and a bit that is wrong; label 2 in a corner of it."""
    labels = np.zeros(bar.grid.shape, np.int64)
    labels[:, 10:60, 10:35] = 1
    labels[:, 100:110, 100:110] = 1
    labels[:, 50:60, 50:60] = 2
    return Mask(labels, bar.grid, {1: "organ", 2: "tumour"}, {2: (9, 9, 9)})


def test_clicks_correct_a_previous_mask_on_their_slice_and_leave_the_rest(bright, bar):
    before = _previous(bar)
    click = Prompt(1, slice=3, points=((45, 20), (105, 105)), point_labels=(1, 0))
    found = segment(bright, bar, [click], previous=before)
    expected = before.labels.copy()
    expected[3][expected[3] == 1] = 0
    expected[3, 10:60, 10:60] = 1
    expected[3, 50:60, 50:60] = 2  # another label keeps its voxels
    assert np.array_equal(found.mask.labels, expected) and bright.runtime.encoded == 1
    assert dict(found.mask.names) == {1: "organ", 2: "tumour"} and dict(found.mask.colors) == {2: (9, 9, 9)}
    assert before.labels[3, 105, 105] == 1  # what was given is not changed


def test_weights_without_mask_prompts_get_the_box_of_the_mask_and_of_the_clicks(bright, bar):
    boxes_only = Predictor(bright.runtime, replace(bright.manifest, prompts=("box",)), weights="bright")
    labels = np.zeros(bar.grid.shape, np.uint8)
    labels[3, 20:40, 20:30] = 1
    click = Prompt(1, slice=3, points=((45, 30), (200, 200)), point_labels=(1, 0))
    found = segment(boxes_only, bar, [click], previous=Mask(labels, bar.grid))
    assert found.slice_boxes == ({3: (20, 20, 45, 39)},)
    assert (found.mask.labels[3, 20:40, 20:46] == 1).all() and found.mask.labels.sum() == 20 * 26
    with pytest.raises(PromptError, match="answers clicks"):  # the mask has nothing of label 2 there
        segment(boxes_only, bar, [replace(click, label=2)], previous=Mask(labels, bar.grid))


def test_a_previous_mask_of_another_grid_is_refused(bright, bar):
    with pytest.raises(GeometryError, match="previous mask"):
        segment(
            bright, bar, [Prompt(1, slice=0, box=LEFT)], previous=Mask(np.zeros((7, 9, 9), np.uint8), Grid((7, 9, 9)))
        )


def test_a_click_mends_a_mask_with_real_weights(disc):
    """Half a disc and a click on the other half give the whole disc."""
    clickable = load_predictor("openmedsam-lite", device="cpu")
    picture, whole = disc
    image = Image(picture[None], Grid((1, *whole.shape)), normalized=True)
    half = whole.copy()
    half[:, 160:] = False
    click = Prompt(1, points=((195, 100), (198, 100)), point_labels=(1, 1))
    found = (
        segment(clickable, image, [click], previous=Mask(half[None].astype(np.uint8), image.grid)).mask.labels[0] > 0
    )

    def dice(a, b):
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    assert dice(half, whole) < 0.7 and dice(found, whole) > 0.9
