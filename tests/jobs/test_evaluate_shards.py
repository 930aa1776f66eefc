"""Models of an evaluation by their words, and where a run keeps masks."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import DataError
from medsam.jobs.evaluate_shards import load_comparators, locate_mask, refuse_doubles
from medsam.jobs.options import ModelOptions


def test_models_that_cannot_be_compared_are_refused(tmp_path):
    with pytest.raises(DataError, match="both --model and --models"):
        load_comparators(("a",), ModelOptions(model="b"))
    with pytest.raises(DataError, match="no model"):
        load_comparators((), ModelOptions())
    (tmp_path / "a.png").touch()
    twice = (f"x=predictions:{tmp_path}", f"x=predictions:{tmp_path}")
    with pytest.raises(DataError, match="two models named x"):
        load_comparators(twice, ModelOptions())
    assert [one.name for one in load_comparators(twice[:1], ModelOptions())] == ["x"]


def test_names_with_slashes_stay_in_the_run():
    refuse_doubles(["a", "b"], "models", "rename one")
    assert locate_mask(Path("run"), "a/b", "c/d", "e.png") == Path("run/masks/a_b/c_d/e.png.npz")
