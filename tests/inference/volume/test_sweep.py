"""Prompts of one slice, decoded by what they are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from bright import BRIGHT, BrightRuntime

from medsam.imaging.image import Grid, Image
from medsam.imaging.prompts import Prompt
from medsam.inference.predictor import Predictor
from medsam.inference.volume.segment import segment
from medsam.inference.volume.sweep import decode_slice
from medsam.inference.volume.tracks import Track, track_neighbours


def test_prompts_made_of_the_same_parts_are_decoded_together_and_keep_their_numbers(bright, disc):
    calls = []

    class Counted:
        """The predictor, with its decodes noted."""

        def decode_parts(self, embedding, **prompts):
            calls.append({name for name, value in prompts.items() if value is not None})
            return bright.decode_parts(embedding, **prompts)

    box, click = (118, 58, 202, 142), {"points": ((160, 100),), "point_labels": (1,)}
    mask = disc[1]
    asked = [
        (Prompt(1, slice=0, **click), None),
        (Prompt(2, slice=0, box=box), None),
        (Prompt(3, slice=0, box=box, **click), None),
        (Prompt(4, slice=0, box=(150, 90, 170, 110)), None),
        (Prompt(5, slice=0, **click), mask),
    ]
    found = {n: logits > 0 for n, logits, _ in decode_slice(Counted(), bright.embed(disc[0]), asked)}
    assert sorted(found) == [0, 1, 2, 3, 4] and len(calls) == 4
    assert {"mask", "points", "point_labels"} in calls
    bright_pixels = disc[0][..., 0] > 127
    assert np.mean(found[0] == bright_pixels) > 0.99 and found[3].sum() < 500 < found[1].sum()


class _SureOfLargeOnes(BrightRuntime):
    """A bright model that is hardly sure of small objects."""

    def decode(self, features_1CHW, prompts, *, multimask):
        logits, scores = super().decode(features_1CHW, prompts, multimask=multimask)
        return logits, torch.full_like(scores, 0.9 if int((logits > 0).sum()) > 1000 else 0.4)


def test_an_object_carried_along_ends_where_the_score_collapses_or_the_mask_vanishes():
    values = np.zeros((8, 64, 64), np.uint8)
    for k, side in enumerate((20, 0, 20, 20, 20, 16, 4, 20)):
        values[k, 20 : 20 + side, 20 : 20 + side] = 255
    image = Image(values, Grid(values.shape, spacing_mm=(1, 1, 1)))

    def reached(runtime: BrightRuntime) -> list[int]:
        predictor = Predictor(runtime, replace(BRIGHT, quality_trained=True), weights="bright")
        tracks = track_neighbours(values[3] > 127, 1, (0, 3, 7), predictor.make_frame(64, 64))
        return np.flatnonzero(segment(predictor, image, tracks).mask.labels.any(axis=(1, 2))).tolist()

    assert reached(BrightRuntime()) == [2, 4, 5, 6, 7]  # it vanishes on slice 1
    assert reached(_SureOfLargeOnes()) == [2, 4, 5]  # and is hardly sure of slice 6


def test_a_second_box_of_a_track_is_asked_too_and_the_mean_of_both_answers_counts(bright):
    image = Image(np.full((1, 64, 64), 200, np.uint8), Grid((1, 64, 64)), normalized=True)
    wide, high = (4.0, 20.0, 60.0, 40.0), (20.0, 4.0, 40.0, 60.0)
    given = {0: Prompt(1, slice=0, box=wide)}
    both = segment(bright, image, [Track(1, given, 0, (0, 0), also={0: high})])
    alone, other = (segment(bright, image, [Prompt(1, slice=0, box=box)]) for box in (wide, high))
    inside = (alone.mask.labels > 0) & (other.mask.labels > 0)
    assert np.array_equal(both.mask.labels > 0, inside), "where only one says yes, both are as sure"
    assert 300 < inside.sum() < alone.mask.labels.sum()
    assert both.slice_boxes == ({0: wide},)
    assert both.scores[0] == np.float32((alone.scores[0] + other.scores[0]) / 2)
