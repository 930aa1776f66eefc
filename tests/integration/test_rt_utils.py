"""Our RTSTRUCT read by rt-utils, a program that is not ours: the same voxels."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantom import Phantom, turned, write_series
from scipy import ndimage

from medsam import read_image, write_mask
from medsam.imaging.image import Mask

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("turn", [None, turned(11, -7, 23)])
def test_rt_utils_finds_the_same_voxels(tmp_path, turn):
    from rt_utils import RTStructBuilder

    # Square pixels: rt-utils 1.2.7 takes the distance between rows for the one between columns.
    write_series(tmp_path / "ct", Phantom(depth=5, rows=40, columns=40, row_mm=0.7, column_mm=0.7, turn=turn))
    grid = read_image(tmp_path / "ct").grid
    noise = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=grid.shape), (0.7, 2.5, 2.5))
    labels = np.where(noise > 0.05, 1, np.where(noise < -0.08, 2, 0))
    labels[2, 20, 20:30] = labels[3, 5, 5] = 7  # a line and a single pixel
    write_mask(
        Mask(labels, grid, {1: "high", 2: "low", 7: "thin"}),
        tmp_path / "m.dcm",
        reference=tmp_path / "ct",
        format="rtstruct",
    )
    theirs = RTStructBuilder.create_from(str(tmp_path / "ct"), str(tmp_path / "m.dcm"))
    assert theirs.get_roi_names() == ["high", "low", "thin"]
    for label, name in ((1, "high"), (2, "low"), (7, "thin")):
        mask = np.transpose(theirs.get_roi_mask_by_name(name), (2, 0, 1))
        assert np.array_equal(mask, labels == label), (
            f"{(mask != (labels == label)).sum()} of {(labels == label).sum()}"
        )
