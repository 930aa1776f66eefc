"""How boxes come from markers: what cannot be meant is refused."""

from __future__ import annotations

import pytest

from medsam.errors import PromptError
from medsam.imaging.box_options import BoxOptions


@pytest.mark.parametrize(
    "bad", [{"interpolation": "cubic"}, {"margin_px": -1}, {"margin_px": float("inf")}, {"max_gap": 0}]
)
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(PromptError):
        BoxOptions(**bad)
