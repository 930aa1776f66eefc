"""Prompts of one slice, decoded by what they are made of."""

from __future__ import annotations

import numpy as np

from medsam.imaging.prompts import Prompt
from medsam.inference.volume.sweep import decode_slice


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
