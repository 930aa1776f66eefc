"""Data for the commands: rings to train on, and a card with six pictures to curate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from skin_card import CARD

from medsam.models.weights.catalog import fetch


@pytest.fixture(scope="session")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of bright rings: the expert wants the hole as well, which the published weights leave out."""
    fetch("lite-medsam")
    root = tmp_path_factory.mktemp("data") / "us_rings"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    y, x = np.ogrid[:90, :120]
    rng = np.random.default_rng(0)
    rows = ["image,mask,group,mask_kind,split,licence"]
    for i in range(3):
        cy, cx = rng.integers(35, 55), rng.integers(35, 85)
        distance = np.hypot(y - cy, x - cx)
        pixels = np.where((distance <= 28) & (distance > 15), 200, 50) + rng.integers(-10, 11, distance.shape)
        Picture.fromarray(pixels.astype(np.uint8)).save(root / f"images/{i}.png")
        Picture.fromarray((distance <= 28).astype(np.uint8)).save(root / f"masks/{i}.png")
        rows.append(f"images/{i}.png,masks/{i}.png,{i},labels,{'tune' if i == 2 else 'train'},CC0")
    (root / "index.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def card(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
    for n in range(6):
        Picture.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(
            tmp_path / "raw" / "images" / f"p{n}.png"
        )
        labels = np.zeros((40, 50), np.uint8)
        labels[5:25, 5 : 25 + n] = 1
        Picture.fromarray(labels).save(tmp_path / "raw" / "masks" / f"p{n}.png")
    (tmp_path / "raw" / "skin.toml").write_text(CARD)
    return tmp_path / "raw" / "skin.toml"
