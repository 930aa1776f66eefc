"""One picture measured through anything that embeds and decodes."""

from __future__ import annotations

import numpy as np

from medsam.evaluation.measure import Subject, measure_picture
from medsam.evaluation.targets import BoxNoise, PromptedTargets, find_targets, prompt_targets

SUBJECT = Subject("us", "ultrasound", "1.png", "p1", "boxes")


class BoxFiller:
    """A segmenter without a network: a target is all of its box, or the square of five pixels around its click."""

    def __init__(self):
        self.embedded = 0

    def embed(self, slice_rgb, /):
        self.embedded += 1
        return slice_rgb.shape[:2]

    def decode(self, embedding, /, *, boxes=None, points=None, point_labels=None):
        if boxes is None:
            assert [len(clicks) for clicks in points] == [len(labels) for labels in point_labels]
            boxes = [(x - 2, y - 2, x + 2, y + 2) for [(x, y)] in points]
        masks = np.zeros((len(boxes), *embedding), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, np.round(boxes).astype(int).tolist(), strict=True):
            mask[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1] = True
        return masks, np.ones(len(boxes), np.float32)


def targets(prompt, noise=0.0):
    labels = np.zeros((50, 60), np.uint8)
    labels[10:30, 10:20] = 1
    labels[32:48, 30:55] = 2
    masks = dict(enumerate(find_targets(labels, "labels")))
    return prompt_targets(masks, prompt, BoxNoise(noise), np.random.default_rng(0))


def test_squares_are_found_by_tight_boxes_with_one_embedding():
    segmenter = BoxFiller()
    scores, masks = measure_picture(segmenter, np.zeros((50, 60, 3), np.uint8), targets("box"), SUBJECT)
    assert segmenter.embedded == 1
    assert masks.shape == (2, 50, 60)
    assert [(s.target, s.targets, s.pixels, s.dice, s.nsd) for s in scores] == [(0, 2, 200, 1, 1), (1, 2, 400, 1, 1)]
    assert {(s.dataset, s.modality, s.sample, s.group, s.method) for s in scores} == {
        ("us", "ultrasound", "1.png", "p1", "boxes")
    }
    assert all(0 < s.seconds < 60 for s in scores)


def test_clicks_are_answered_by_hand():
    scores, _ = measure_picture(BoxFiller(), np.zeros((50, 60, 3), np.uint8), targets("point"), SUBJECT)
    assert [s.dice for s in scores] == [2 * 25 / (25 + 200), 2 * 25 / (25 + 400)]


def test_a_target_keeps_its_number_when_others_are_left_out():
    one = targets("box")
    [score], _ = measure_picture(
        BoxFiller(),
        np.zeros((50, 60, 3), np.uint8),
        PromptedTargets({1: one.masks[1]}, boxes_N4=one.boxes_N4[1:]),
        SUBJECT,
    )
    assert (score.target, score.targets, score.dice) == (1, 1, 1)
