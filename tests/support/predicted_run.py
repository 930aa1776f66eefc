"""A small data set and predictions of two models of it, and the run that measures them, without any network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from medsam.cli.app import run

PLACES = ((20, 30), (30, 60), (40, 45), (25, 50))


def write_data(root: Path) -> Path:
    """Four pictures of a disc in one data set, with predictions good/ and half/, of which half/ lacks the last."""
    folder = root / "us_discs"
    for name in ("us_discs/images", "us_discs/masks", "good", "half"):
        (root / name).mkdir(parents=True)
    y, x = np.mgrid[:60, :90]
    lines = ["image,mask,group,mask_kind,split"]
    for i, (row, column) in enumerate(PLACES):
        disc = (y - row) ** 2 + (x - column) ** 2 < 15**2
        moved = (y - row) ** 2 + (x - column - 1) ** 2 < 15**2
        Picture.fromarray(np.where(disc, 200, 60).astype(np.uint8)).save(folder / f"images/{i}.png")
        Picture.fromarray(disc.astype(np.uint8)).save(folder / f"masks/{i}.png")
        Picture.fromarray(moved.astype(np.uint8)).save(root / f"good/{i}.png")
        if i < len(PLACES) - 1:
            Picture.fromarray((disc & (x < column + 2 * i)).astype(np.uint8)).save(root / f"half/{i}.png")
        lines.append(f"images/{i}.png,masks/{i}.png,p{i},labels,val")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    (folder / "labels.csv").write_text("label,name\n1,disc\n")
    return folder


def evaluate(root: Path) -> int:
    """Measure both into root/run; gives the exit code."""
    models = f"good=predictions:{root / 'good'},half=predictions:{root / 'half'}"
    return run(["evaluate", str(root / "us_discs"), "-o", str(root / "run"), "--models", models])
