"""The client class out of MONAI Label's wheel, as 3D Slicer's module carries it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


def client_class(folder: Path):
    """The client class out of the wheel, none of whose dependencies is installed."""
    words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "monailabel==0.8.5"]
    if subprocess.run(words, capture_output=True, timeout=300).returncode != 0:
        pytest.skip("the wheel of monailabel cannot be fetched")
    [wheel] = folder.glob("monailabel-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (folder / "client.py").write_bytes(archive.read("monailabel/client/client.py"))
    spec = importlib.util.spec_from_file_location("monailabel_client", folder / "client.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MONAILabelClient
