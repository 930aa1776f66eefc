"""Curation on Ray's own multi-node cluster on loopback: a node dies in mid-run, and the store is that of a single process."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.data.cards import parse_card
from medsam.data.curate import Settings, Source, curate
from medsam.data.store import Store, check
from medsam.engine import run
from medsam.errors import RemoteError

pytestmark = pytest.mark.integration
ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")

CARD = """
name = "skin"
version = "1"
licence = "CC0"
citation = "made by the test"
modality = "dermoscopy"
dimension = 2
published = true
[images]
path = "images/{image}.png"
[masks]
path = "masks/{image}.png"
[targets]
lesion = 1
"""
CASES, PER_SHARD = 160, 4


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
    source, settings = Source(parse_card(CARD, "t"), raw), Settings(cases_per_shard=PER_SHARD)
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


def test_a_cluster_that_is_not_there_is_reported():
    with pytest.raises(RemoteError, match="did not answer"):
        list(run(str, [1], engine="ray", address="127.0.0.1:1"))
