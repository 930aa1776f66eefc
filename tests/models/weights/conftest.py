"""Models with random weights, and files of them that leave nothing large behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_weights import random_model

from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def vit() -> MedSAM:
    return random_model("vit_b")


@pytest.fixture(scope="module")
def lite() -> MedSAM:
    return random_model("tiny_vit")


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Path]:
    def save(what: object) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(what, path)
        return path

    return save


@pytest.fixture
def no_large_leftovers(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def hub_folder(vit: MedSAM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("hub") / "medsam"
    save_checkpoint(vit, replace(CATALOG["sam-vit-b"].manifest, name="mine", sha256=None), folder, "hf")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of models of the test's own."""
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    for name in ("MEDSAM_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "models"
