"""Ray's own multi-node cluster on loopback: a node dies in mid-run, and the store, or the mask, is that of a single process."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image as Picture
from serving import prompt, serve
from skin_card import CARD

import medsam
from medsam.annotation.markers import Marker
from medsam.cli.app import run as command
from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store, check
from medsam.data.store.settings import CurateSettings
from medsam.engine import run
from medsam.errors import MedsamError, RemoteError
from medsam.jobs.options import EngineOptions, ModelOptions

pytestmark = pytest.mark.integration
ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")

CASES, PER_SHARD = 160, 4
DEPTH = 16


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
    y, x = np.ogrid[:400, :500]
    for n in range(CASES):
        Picture.fromarray(rng.integers(0, 256, (400, 500, 3), dtype=np.uint8)).save(
            tmp_path / "raw" / "images" / f"p{n:03d}.png", compress_level=1
        )
        disc = ((y - 200) ** 2 + (x - 250) ** 2 < (40 + n) ** 2).astype(np.uint8)
        Picture.fromarray(disc).save(tmp_path / "raw" / "masks" / f"p{n:03d}.png")
    return tmp_path / "raw"


@pytest.fixture
def cluster():
    """A head without work and two nodes of one core each; a dead node is noticed within about two seconds."""
    from ray.cluster_utils import Cluster

    settings = {
        "health_check_initial_delay_ms": 500,
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 500,
        "health_check_failure_threshold": 3,
    }
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": settings, "include_dashboard": False}
    )
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def digest(folder: Path) -> str:
    out = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        out.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return out.hexdigest()


def test_a_node_killed_in_mid_run_changes_nothing(raw, cluster, tmp_path):
    source, settings = CuratedSource(parse_card(CARD, "t"), raw), CurateSettings(cases_per_shard=PER_SHARD)
    curate([source], tmp_path / "one", settings=settings)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    done_at_death: list[int] = []

    def kill() -> None:
        shards = tmp_path / "ray" / "shards"
        while len(list(shards.glob("skin-*"))) < 4:
            time.sleep(0.02)
        done_at_death.append(len(list(shards.glob("skin-*"))))
        cluster.remove_node(nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    report = curate([source], tmp_path / "ray", settings=settings, engine="ray", address=cluster.address)
    killer.join()
    assert 4 <= done_at_death[0] < CASES // PER_SHARD  # it really was mid-run
    assert report.made == CASES // PER_SHARD
    assert report.clean
    again = curate([source], tmp_path / "ray")
    assert (again.made, again.present) == (0, CASES // PER_SHARD)
    assert digest(tmp_path / "ray") == digest(tmp_path / "one")
    store = Store(tmp_path / "ray")
    assert len(store) == len(set(store.catalogue["sample_id"].to_pylist())) == CASES
    assert check(store) == []


def noisy_scan(path: Path) -> Path:
    """A ball in noise, so that no two slices have one embedding."""
    z, y, x = np.ogrid[:DEPTH, :96, :96]
    ball = ((z - DEPTH / 2) * 3) ** 2 + (y - 48) ** 2 + (x - 44) ** 2 < 30**2
    values = np.random.default_rng(0).normal(0, 30, ball.shape) + 300 * ball
    nibabel.save(nibabel.Nifti1Image(values.astype(np.int16).T, np.diag([-1.0, -1.0, 3.0, 1.0])), path)
    return path


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_a_node_killed_in_mid_annotation_changes_no_voxel(cluster, tmp_path):
    image = medsam.normalize(medsam.read_image(noisy_scan(tmp_path / "scan.nii.gz"), modality="MR"))
    markers = [Marker(1, k, ((20.0, 48.0), (68.0, 48.0), (44.0, 24.0), (44.0, 72.0))) for k in (2, DEPTH - 3)]
    options = ModelOptions("openmedsam-lite", device="cpu")
    with one_thread():  # as an actor on one core has; another number of threads rounds otherwise
        alone = medsam.annotate(options.load(), image, markers)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    predictor = options.load(EngineOptions("ray", cluster.address))
    assert predictor.devices == 2
    lost: list[int] = []

    def lose_a_node(done: int, total: int | None) -> None:
        if done >= 3 and not lost:
            lost.append(done)
            cluster.remove_node(nodes[0], allow_graceful=False)

    made = medsam.annotate(predictor, image, markers, progress=lose_a_node)
    assert lost == [3] and len(made.boxes[1]) == DEPTH - 4  # it really was mid-run
    assert np.array_equal(made.mask.labels, alone.mask.labels) and made.mask.labels.any()
    assert made.scores.keys() == alone.scores.keys() == {1}
    assert made.scores[1] == pytest.approx(alone.scores[1], abs=1e-5)
    ray.shutdown()
    with pytest.raises(RemoteError, match="a cluster that was left"):
        predictor.embed(image.slice_rgb(0))
    assert not ray.is_initialized()


def test_a_folder_and_the_server_give_the_same_masks_on_a_cluster(cluster, tmp_path):
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    (tmp_path / "scans").mkdir()
    rng = np.random.default_rng(1)
    for n in range(3):
        Picture.fromarray(rng.integers(0, 256, (60, 70), dtype=np.uint8)).save(tmp_path / "scans" / f"{n}.png")
    words = [
        "segment",
        str(tmp_path / "scans"),
        "--box",
        "10,10,50,40",
        "--model",
        "openmedsam-lite",
        "--modality",
        "US",
    ]
    words += ["--device", "cpu", "-o"]
    assert command([*words, str(tmp_path / "one")]) == 0
    assert command([*words, str(tmp_path / "ray"), "--engine", "ray", "--address", cluster.address]) == 0
    masks = [sorted((tmp_path / place).glob("*.png")) for place in ("one", "ray")]
    assert len(masks[0]) == len(masks[1]) == 3
    for alone, there in zip(*masks, strict=True):
        assert np.array_equal(np.asarray(Picture.open(alone)), np.asarray(Picture.open(there)))
    predictor = ModelOptions("openmedsam-lite", device="cpu").load(EngineOptions("ray", cluster.address))
    with serve(tmp_path, predictor) as served:
        answers = [prompt(served, slice=k) for k in (1, 2)]
        assert [answer.status_code for answer in answers] == [200] * 2


def test_a_model_that_no_node_can_load_is_refused_in_words(cluster):
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    with pytest.raises(MedsamError, match="no-such-model"):
        ModelOptions("no-such-model", device="cpu").load(EngineOptions("ray", cluster.address))


def test_a_cluster_that_is_not_there_is_reported():
    with pytest.raises(RemoteError, match="did not answer"):
        list(run(str, [1], engine="ray", address="127.0.0.1:1"))
