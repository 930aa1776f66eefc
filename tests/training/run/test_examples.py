"""Pictures of a measurement: the same samples every time, in colours that say whose contour it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from tiny import CONFIG, train

from medsam.training.run.examples import choose_examples
from medsam.training.samples.sources import TrainingSlice, Unit


def test_every_measurement_leaves_the_same_samples_as_a_picture(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run", replace(CONFIG, examples=2))
    sheets = sorted((tmp_path / "run/examples").iterdir())
    assert [sheet.name for sheet in sheets] == ["step-00000000.png", "step-00000004.png", "step-00000005.png"]
    first, last = (np.asarray(Picture.open(sheet)).astype(int) for sheet in (sheets[0], sheets[-1]))
    assert first.shape == last.shape == (384 + 32, 2 * 384, 3)
    assert (first != last).any()  # the model has learnt
    assert (np.abs(first - last).max(axis=2) > 40).mean() < 0.2  # on the same pictures
    train(discs, tmp_path / "none", replace(CONFIG, examples=0))
    assert not (tmp_path / "none/examples").exists()


class Named:
    """A source of names alone."""

    def __init__(self, *kinds: tuple[str, str]) -> None:
        self.kinds = kinds
        self.pictures = len(kinds)

    def __len__(self) -> int:
        return len(self.kinds)

    def unit(self, number: int) -> Unit:
        modality, dataset = self.kinds[number]
        return Unit(str(number), dataset, modality, "CC0")

    def read(self, number: int) -> TrainingSlice:
        raise AssertionError(number)


def test_examples_take_modalities_in_turn_and_in_each_its_data_sets() -> None:
    kinds = [("CT", "liver")] * 50 + [("CT", "lung")] * 3 + [("MR", "heart")] * 10 + [("OCT", "eye")]
    chosen = choose_examples(Named(*kinds), range(64), 8)
    assert Counter(kinds[i] for i in chosen) == {
        ("CT", "liver"): 2,
        ("CT", "lung"): 2,
        ("MR", "heart"): 3,
        ("OCT", "eye"): 1,
    }
    assert chosen == choose_examples(Named(*kinds), range(64), 8)
    assert set(choose_examples(Named(*kinds), range(40, 60), 3)) < set(range(40, 60))
    assert choose_examples(Named(*kinds), range(64), 0) == []
