"""A raw data set of nnU-Net: a case for every target, with its box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from command import medsam as command


def test_a_raw_data_set_of_nnunet_has_a_case_for_every_target(discs: Path, tmp_path: Path) -> None:
    made = command("baseline prepare unet --name discs --number 7 --json --noise-px 0", discs, "-o", tmp_path / "nn")
    assert made.code == 0, made.err
    folder = tmp_path / "nn/nnUNet_raw/Dataset007_discs"
    assert made.json == {"folder": str(folder), "cases": 13}  # nine pictures, every other one has two discs
    for case in ("case000000", "case000012"):
        mask, box = (
            np.asarray(Picture.open(folder / name)) for name in (f"labelsTr/{case}.png", f"imagesTr/{case}_0001.png")
        )
        assert (mask <= box).all() and box.any(axis=0).sum() == mask.any(axis=0).sum()
    again = command("baseline prepare unet --name discs --number 7", discs, "-o", tmp_path / "nn")
    assert again.code == 1 and "is there already" in again.err
