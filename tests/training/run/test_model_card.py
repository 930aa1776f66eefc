"""The model card of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from runs import losses
from tiny import CONFIG, MANIFEST, source, tiny_model

from medsam.training.run.loop import fit

LONG = replace(CONFIG, epochs=4, save_every=100, validate_every=100)


def test_a_point_model_says_so_on_its_card(discs: Path, tmp_path: Path) -> None:
    points = replace(CONFIG, prompts=("point",), prompt_encoder="full")
    model = tiny_model()
    tune = source(discs, "tune")
    manifest = replace(MANIFEST, prompts=points.learnt_prompts)
    fit(points, tmp_path / "run", model, manifest, source(discs, "train"), tune=tune, device="cpu")
    card = (tmp_path / "run/README.md").read_text()
    assert "medsam segment IMAGE --point X,Y" in card
    assert "each prompted by one click, deepest inside" in card
    assert "Prompts it has learnt: point;" in card
    assert "box" not in card.split("## How")[0]
    assert len(losses(tmp_path / "run")) == 5
    assert np.isfinite(losses(tmp_path / "run")).all()
