"""Pictures of a store as pictures of an evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz_families import a_store

from medsam.errors import DataError
from medsam.evaluation.evaluate import EvaluationProtocol, prompt_picture
from medsam.evaluation.stored import list_stored


def test_a_store_gives_pictures_with_named_targets(tmp_path):
    a_store(tmp_path)
    [row] = list_stored(tmp_path / "store", None)
    picture = prompt_picture(row, EvaluationProtocol(split=None, noise_px=0))
    y, x = np.ogrid[:64, :80]
    np.testing.assert_array_equal(picture.targets.masks[0], (y - 32) ** 2 + (x - 40) ** 2 < 150)
    assert picture.slice_rgb.shape == (64, 80, 3)
    assert len(picture.targets.names[0]) > 0
    assert picture.sample == row.sample
    with pytest.raises(DataError, match="no pair of split 'mars'"):
        list_stored(tmp_path / "store", "mars")
