"""The choices that jobs take alike have the defaults of Python."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from command import medsam, refused
from medsam.errors import DataError
from medsam.inference.predictor import load_predictor
from medsam.jobs.options import EngineOptions, ModelOptions
from medsam.models.weights.catalog import fetch


def test_defaults_of_jobs_are_those_of_python() -> None:
    python = {name: p.default for name, p in inspect.signature(load_predictor).parameters.items()}
    options = ModelOptions()
    assert (options.runtime, options.precision) == (python["runtime"], python["precision"])


def test_options_load_the_model_they_name() -> None:
    predictor = ModelOptions("lite-medsam", device="cpu").load()
    assert predictor.manifest.name == "lite-medsam"


def test_an_address_without_ray_is_refused() -> None:
    assert not EngineOptions().on_cluster
    with pytest.raises(DataError, match="an address for the engine 'local'"):
        ModelOptions("openmedsam-lite").load(EngineOptions(address="host:6379"))


def test_weights_from_elsewhere_follow_the_model_they_are_like(tmp_path: Path) -> None:
    stranger = Path(shutil.copy(fetch("lite-medsam"), tmp_path / "mine.pth"))
    Picture.fromarray(np.tile(np.arange(40, dtype=np.uint8), (40, 1))).save(tmp_path / "a.png")
    call = f"segment {tmp_path}/a.png --box 5,5,30,30 --device cpu -o {tmp_path}/m.png --model {stranger}"
    assert refused(medsam(f"{call} --like none"), "none")
    assert refused(medsam(call.replace(f"--model {stranger}", "--like lite-medsam")), "leave like out")
    assert medsam(f"{call} --like lite-medsam --record {tmp_path}/r.json").code == 0
    assert json.loads((tmp_path / "r.json").read_text())["model"]["name"] == "mine"
