"""OpenVINO: signals, calibration, threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medsam.errors import ModelUnavailableError
from medsam.inference.predictor import load_predictor
from medsam.models.weights.catalog import find_cached

SIGNAL = """
import gc, os, signal
from medsam.inference.predictor import load_predictor
predictors = [load_predictor("lite-medsam", runtime="openvino") for _ in range(2)]
while predictors:
    predictors.pop(0)
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("interrupted"))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_signal_is_handled_after_runtimes_were_freed(lite):
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", SIGNAL], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_int8_needs_slices_to_calibrate_on(lite, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    weights = find_cached("lite-medsam")
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path))  # where nothing was calibrated yet
    with pytest.raises(ModelUnavailableError, match="calibration"):
        load_predictor(weights, precision="int8", runtime="openvino")
