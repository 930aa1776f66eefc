"""Dice, IoU and NSD held against MONAI on random shapes, isotropic and not; it is installed beside nnU-Net, without its needs.

MONAI's surface Dice has surface elements of subvoxels as ours. Its Hausdorff distance is one of voxel borders, another
definition: ours is held against Surface-Distance-Based-Measures (tests/evaluation/test_metrics.py).
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import scipy.ndimage

from medsam.evaluation.metrics import dice, iou, normalized_surface_distance

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(find_spec("monai") is None, reason="MONAI is not installed; run make integration"),
]


@pytest.mark.parametrize("shape", [(40, 52), (20, 28, 24)])
@pytest.mark.parametrize("spacing", [1.0, 2.5])
@pytest.mark.parametrize("seed", range(3))
def test_values_equal_those_of_monai(shape: tuple[int, ...], spacing: float, seed: int) -> None:
    import torch
    from monai.metrics import compute_dice, compute_iou, compute_surface_dice

    rng = np.random.default_rng(seed)
    a = scipy.ndimage.gaussian_filter(rng.normal(size=shape), 2.0) > 0
    b = a ^ (scipy.ndimage.gaussian_filter(rng.normal(size=shape), 2.0) > 0.12)
    steps = (spacing, *([0.8] * (len(shape) - 1)))
    first, second = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (a, b))
    assert dice(a, b) == pytest.approx(float(compute_dice(first, second)), abs=1e-6)
    assert iou(a, b) == pytest.approx(float(compute_iou(first, second)), abs=1e-6)
    theirs = compute_surface_dice(
        first, second, class_thresholds=[2.0], include_background=True, spacing=list(steps), use_subvoxels=True
    )
    ours = normalized_surface_distance(a, b, tolerance_mm=2.0, spacing_mm=steps)
    assert ours == pytest.approx(float(theirs), abs=1e-6)
