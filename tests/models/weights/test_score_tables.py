"""Tables of expected IoU: of weights in the catalog, and none changes the order of masks."""

from __future__ import annotations

from itertools import pairwise

from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.score_tables import SCORE_TABLES


def test_tables_rise_strictly_from_an_empty_mask_to_a_score_of_one() -> None:
    for table in SCORE_TABLES.values():
        assert table[0] == (0.0, 0.0)
        assert table[-1][0] == 1.0
        assert table[-1][1] < 1.0
        assert all(low[0] < high[0] and low[1] < high[1] for low, high in pairwise(table))


def test_every_table_is_of_weights_that_the_catalog_offers() -> None:
    assert set(SCORE_TABLES) <= {entry.manifest.sha256 for entry in CATALOG.values()}
