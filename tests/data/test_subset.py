"""Subsets of a store."""

from __future__ import annotations

import pytest

from medsam.data.store.tables import read_table
from medsam.data.subset import write_subsets
from medsam.errors import DataError


def test_subsets_are_lists_of_ids_that_nest(mixed_store, tmp_path):
    made = write_subsets(mixed_store, [4, 2], tmp_path / "sub", split="train")
    small, large = (set(read_table(path)["sample_id"].to_pylist()) for path, _ in made)
    assert (len(small), len(large)) == (2, 4)
    assert small < large
    with pytest.raises(DataError, match="a subset of 1,000"):
        write_subsets(mixed_store, [1000], None)
