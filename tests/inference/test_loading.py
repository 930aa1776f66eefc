"""From a request to a runtime: what is refused, weights from elsewhere, the choice of the runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from medsam.errors import CheckpointError, MissingDependencyError, ModelUnavailableError
from medsam.inference.predictor import Predictor, load_predictor
from medsam.models.networks.medsam import build
from medsam.models.weights.catalog import CATALOG, find_cached


def test_what_is_not_known_is_refused_in_words():
    with pytest.raises(MissingDependencyError, match="precision is 'fp8'"):
        load_predictor("lite-medsam", precision="fp8")
    with pytest.raises(MissingDependencyError, match="runtime is 'jax'"):
        load_predictor("lite-medsam", runtime="jax")
    with pytest.raises(MissingDependencyError, match="the CPU"):
        load_predictor("openmedsam-lite", device="cuda", runtime="openvino")


def test_weights_from_elsewhere_follow_the_manifest_of_the_model_named(tmp_path: Path):
    model = build("tiny_vit")
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    predictor = load_predictor(tmp_path / "mine.pth", like="openmedsam-lite", device="cpu")
    told = CATALOG["openmedsam-lite"].manifest
    found = predictor.manifest
    assert found.name == "mine"
    assert (found.prompts, found.quality_trained) == (told.prompts, told.quality_trained) == (("box", "point"), True)
    assert found.licence is None  # of these weights nothing is known
    assert predictor.embed(np.zeros((20, 30, 3), np.uint8)).features.shape == (1, 256, 64, 64)


def test_like_that_does_not_fit_is_refused_in_words(tmp_path: Path):
    torch.save(build("tiny_vit").state_dict(), tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match="holds a tiny_vit; expected a vit_b"):
        load_predictor(tmp_path / "mine.pth", like="medsam-vit-b")
    with pytest.raises(ModelUnavailableError, match="did you mean lite-medsam"):
        load_predictor(tmp_path / "mine.pth", like="lite-medsan")
    for model in (None, "lite-medsam", tmp_path / "none.pth"):
        with pytest.raises(CheckpointError, match="expected a weights file"):
            load_predictor(model, like="medsam-vit-b")


@pytest.mark.integration  # converts a model
def test_auto_measures_once_and_gives_the_masks_of_torch(
    lite: Predictor, disc: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("openvino")
    weights = find_cached("lite-medsam")
    assert weights is not None
    (tmp_path / "models").mkdir()
    shutil.copy(weights, tmp_path / "models")
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path))
    auto = load_predictor("lite-medsam", runtime="auto", device="cpu")
    kept = (tmp_path / "runtimes.json").read_text()
    assert auto.runtime.name.split()[0] in ("torch", "openvino")
    assert load_predictor("lite-medsam", runtime="auto", device="cpu").runtime.name == auto.runtime.name
    assert (tmp_path / "runtimes.json").read_text() == kept
    masks, _ = auto.decode(auto.embed(disc[0]), boxes=[(118, 58, 202, 142)])
    expected, _ = lite.decode(lite.embed(disc[0]), boxes=[(118, 58, 202, 142)])
    assert (masks != expected).sum() <= 2
