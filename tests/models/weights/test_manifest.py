"""What binds pre-processing to weights."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from medsam.errors import CheckpointError
from medsam.imaging.frame import Frame
from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.manifest import Manifest
from medsam.models.weights.score_tables import SCORE_TABLES

LITE = Manifest("a", "tiny_vit", 256, "pad", "area", "unit", "logits", ("box", "point"))


def test_a_manifest_comes_back_from_its_json() -> None:
    assert Manifest.from_json(LITE.to_json()) == LITE


def test_the_frame_of_a_slice_has_the_pre_processing_of_the_weights() -> None:
    frame = LITE.make_frame(100, 200)
    assert frame == Frame(100, 200, 256, "pad", "area", "unit")
    assert frame.inner_hw == (128, 256)


def test_a_score_is_named_by_what_the_weights_were_trained_for() -> None:
    assert LITE.score_name == "stability"
    assert replace(LITE, quality_trained=True).score_name == "predicted IoU"


def test_a_measured_table_belongs_to_one_file_of_weights() -> None:
    published = CATALOG["lite-medsam"].manifest
    assert published.score_name == "expected IoU"
    assert published.score_table == SCORE_TABLES[published.sha256 or ""]
    assert replace(published, sha256=None).score_table == replace(published, sha256="0" * 64).score_table == ()


@pytest.mark.parametrize("text", ["", "[]", "3", json.dumps({"name": "a"}), json.dumps({"name": "a", "colour": "red"})])
def test_what_is_no_manifest_is_refused_in_words(text: str) -> None:
    with pytest.raises(CheckpointError, match="a model manifest that cannot be read"):
        Manifest.from_json(text)
