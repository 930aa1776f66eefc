"""Every name of an architecture is one that can be built; the light ones are the small ones."""

from __future__ import annotations

from typing import get_args

import torch

from medsam.models.networks.architecture import LIGHT, Architecture
from medsam.models.networks.medsam import ARCHITECTURES, FRAME_SIZES, build


def test_every_architecture_can_be_built_and_the_light_ones_are_small() -> None:
    assert get_args(Architecture) == ARCHITECTURES == tuple(FRAME_SIZES)
    with torch.device("meta"):
        sizes = {name: sum(p.numel() for p in build(name, initialise=False).parameters()) for name in ARCHITECTURES}
    assert {name for name, size in sizes.items() if size < 10_000_000} == set(LIGHT)
