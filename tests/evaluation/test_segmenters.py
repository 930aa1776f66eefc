"""What `--model` may name: told apart by what lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import MedsamError
from medsam.evaluation.segmenters import load_segmenter


def test_a_catalog_name_is_a_promptable_model_with_its_hash() -> None:
    found = load_segmenter("openmedsam-lite", device="cpu")
    assert found.name == "openmedsam-lite"
    assert len(found.weights) == 64


@pytest.mark.parametrize("name", ["no-such-model", "absent.safetensors"])
def test_what_is_no_model_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(MedsamError):
        load_segmenter(tmp_path / name if "." in name else name)
