"""The weights a run starts from, and what is said of those that come out."""

from __future__ import annotations

from dataclasses import replace

from medsam.models.weights.catalog import CATALOG
from medsam.training.config import TrainConfig
from medsam.training.learner.base_model import new_manifest


def test_what_binds_the_base_binds_what_is_trained_from_it() -> None:
    base = replace(CATALOG["lite-medsam"].manifest, licence="research only")
    silent = TrainConfig(data=("x",), base="lite-medsam", like="")
    assert new_manifest(base, silent).licence == "not stated; trained from lite-medsam, which has: research only"
    assert new_manifest(base, replace(silent, licence="CC BY-NC 4.0")).licence == "CC BY-NC 4.0"
    assert new_manifest(replace(base, licence=None), silent).licence is None
