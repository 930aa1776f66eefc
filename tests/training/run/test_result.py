"""The weights a run leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from tiny import CONFIG, source, train

from medsam.training.run.folder import SUMS
from medsam.training.run.monitor import read_metrics
from medsam.training.samples.sources import PictureSource

LONG = replace(CONFIG, epochs=4, save_every=100, validate_every=100)


def test_a_run_leaves_the_checksums_of_its_weights(discs: Path, tmp_path: Path) -> None:
    from medsam.models.weights.file import digest

    run = tmp_path / "run"
    Picture.fromarray(np.ones((60, 80), np.uint8)).save(tmp_path / "all.png")
    rows = [replace(row, mask=tmp_path / "all.png") for row in source(discs, "train").rows]
    train(
        discs, run, learn=PictureSource(rows)
    )  # at first it finds nearly nothing, so to take all of a picture is better
    scores = [line["tune_dice"] for line in read_metrics(run) if "tune_dice" in line]
    assert max(scores[1:]) > scores[0]
    assert (run / "best.safetensors").is_file()
    lines = [line.split("  ") for line in (run / SUMS).read_text().splitlines()]
    assert lines == [[digest(run / name), name] for name in ("best.safetensors", "model.safetensors")]
