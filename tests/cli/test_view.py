"""The command `medsam view`: the slice drawn, its size told, and a picture that is there left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from command import medsam, refused
from medsam import Grid, Mask, write_mask


def test_the_middle_slice_is_drawn_and_told(tmp_path: Path) -> None:
    scan, out = tmp_path / "a.nii.gz", tmp_path / "a.png"
    write_mask(Mask(np.arange(5 * 30 * 40).reshape(5, 30, 40) % 200, Grid((5, 30, 40), (3, 1, 1))), scan)
    assert f"{out}: slice 2 of 5, 40 x 30 pixels" in medsam("view --modality MR -o", out, scan).out
    assert refused(medsam("view --modality MR -o", out, scan), "exists already")
    ended = medsam("view --modality MR --slice 4 --overwrite --json -o", out, scan)
    assert ended.json["slice"] == 4  # type: ignore[index]
    assert refused(medsam("view --modality MR --slice 5 --overwrite -o", out, scan), "slice")
