"""A run is refused before its first step where the disk has no room for all that it writes."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from tiny import CONFIG, train

from medsam.errors import OutputError
from medsam.training.dataset import BalancedOrder, Order
from medsam.training.room import Need, check_room

KEPT = replace(CONFIG, encoder="frozen", cache_embeddings=True)


def free(monkeypatch: pytest.MonkeyPatch, size: int, total: int = 10**12) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=total, used=0, free=size))


def test_what_goes_to_one_disk_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = [Need(tmp_path / "run", 3_000_000, "weights"), Need(tmp_path / "not/there/yet", 4_000_000, "features")]
    free(monkeypatch, 7_000_000)
    check_room(needs)
    free(monkeypatch, 6_900_000)
    with pytest.raises(OutputError, match=r"has 7 MB free; expected 3 MB for weights and 4 MB for features; .*folder"):
        check_room(needs)
    free(monkeypatch, 0, total=0)  # a disk that does not say how large it is
    check_room(needs)


@pytest.mark.parametrize("draws", [1, 4, 7, 8, 30])
def test_how_many_different_units_are_drawn(draws: int) -> None:
    groups = [np.arange(2), np.arange(2, 9)]
    for order in (Order(6, 3), BalancedOrder(groups, 3)):
        drawn = len({order.unit(draw) for draw in range(draws)})
        rest = draws % len(groups) if isinstance(order, BalancedOrder) else 0
        assert drawn <= order.different(draws) <= drawn + rest


def test_features_that_are_kept_count_and_those_that_are_there_do_not(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = 32 * 8 * 8 * 4  # channels, grid and bytes of the tiny model's embedding
    size = (9 + 3) * one  # to learn from and to measure on
    real, asked = check_room, []
    monkeypatch.setattr("medsam.training.loop.check_room", lambda needs: (asked.append(needs), real(needs)))
    train(discs, tmp_path / "run", replace(KEPT, cache_folder=str(tmp_path / "kept")))
    weights, features = asked[0]
    assert features == Need(tmp_path / "kept", size, "the features of 12 pictures that are kept")
    assert size <= sum(file.stat().st_size for file in (tmp_path / "kept").rglob("*.embedding")) < 1.1 * size
    free(monkeypatch, weights.size + size - 1)
    train(discs, tmp_path / "again", replace(KEPT, cache_folder=str(tmp_path / "kept")))
    with pytest.raises(OutputError, match="12 pictures"):
        train(discs, tmp_path / "fresh", KEPT)
    assert not (tmp_path / "fresh").exists()
