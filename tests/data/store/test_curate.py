"""Curation from files to a store: what is kept, what is left out and why, and that nothing depends on how it ran."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest

from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store, check
from medsam.data.store.settings import CurateSettings
from medsam.errors import DataError, OutputError


def test_pictures_keep_their_size_pixels_and_masks(making, tmp_path):
    tree = making.skin(3)
    curate([CuratedSource(parse_card(making.card_2d(), "t"), tree.root)], tmp_path / "s")
    store = Store(tmp_path / "s")
    assert len(store) == 3
    image, mask = store.pair(1)
    np.testing.assert_array_equal(image, making.picture(1, channels=3))
    np.testing.assert_array_equal(mask, making.disc(radius=9) > 0)
    row = store.catalogue.slice(1, 1).to_pylist()[0]
    assert (row["file"], row["area_px"], row["height"], row["width"], row["channels"]) == (
        "images/p001.png",
        int(mask.sum()),
        64,
        80,
        3,
    )
    assert (row["x0"], row["y0"], row["x1"], row["y1"]) == (31, 23, 49, 41)
    assert check(store) == []


def test_every_bad_file_has_its_reason_and_the_rest_is_kept(making, tmp_path):
    tree = making.skin(1)
    good, mask = making.picture(1, channels=3), making.disc()
    cut = tree.raster("images/cut.png", good)
    cut.write_bytes(cut.read_bytes()[:2000])
    tree.raster("masks/cut.png", mask)
    tree.raster("images/nomask.png", good)
    tree.raster("images/othergrid.png", good)
    tree.raster("masks/othergrid.png", mask[:, :40])
    tree.raster("images/empty.png", good)
    tree.raster("masks/empty.png", mask * 0)
    tree.raster("images/constant.png", good * 0)
    tree.raster("masks/constant.png", mask)
    tree.raster("images/maskisimage.png", good)
    tree.raster("masks/maskisimage.png", np.random.default_rng(0).integers(0, 256, (64, 80), dtype=np.uint8))
    tree.raster("images/tiny.png", good)
    tree.raster("masks/tiny.png", making.disc(radius=5))  # 81 pixels
    tree.raster("images/unknown.png", good)
    tree.raster("masks/unknown.png", making.disc(value=7))
    report = curate([CuratedSource(parse_card(making.card_2d(), "t"), tree.root)], tmp_path / "s")
    assert making.reasons(tmp_path / "s") == {
        "cut": "unreadable image",
        "nomask": "no mask file",
        "othergrid": "mask on another grid",
        "empty": "empty mask",
        "constant": "incomplete image",
        "maskisimage": "mask is an image",
        "tiny": "tiny area",
        "unknown": "label not on the card",
    }
    counts = report.counts["skin"]
    assert (counts.summary.cases_read, counts.summary.cases_kept, counts.faults) == (9, 1, 5)
    assert counts.summary.pairs_kept + counts.summary.pairs_excluded == counts.summary.pairs_read == 2
    assert not report.clean


def test_running_again_changes_nothing_and_adding_keeps_what_was(making, tmp_path):
    skin, scans = making.skin(5), making.scans(1)
    first, second = (
        CuratedSource(parse_card(making.card_2d(), "t"), skin.root),
        CuratedSource(parse_card(making.card_3d(), "t"), scans.root),
    )
    store, settings = tmp_path / "s", CurateSettings(cases_per_shard=2)
    assert curate([first], store, settings=settings).made == 3
    before = making.digest(store)
    times = {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()}
    again = curate([first], store)
    assert (again.made, again.present) == (0, 3)
    assert making.digest(store) == before
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file()} == times
    split_before = dict(zip(*(Store(store).catalogue[c].to_pylist() for c in ("sample_id", "split")), strict=True))
    curate([second], store)
    split_after = dict(zip(*(Store(store).catalogue[c].to_pylist() for c in ("sample_id", "split")), strict=True))
    assert split_before.items() <= split_after.items()
    curate([second, first], tmp_path / "together", settings=settings)
    assert making.digest(tmp_path / "together") == making.digest(store)


def test_a_changed_file_is_made_anew_and_its_old_shard_goes(making, tmp_path):
    tree, store = making.skin(4), tmp_path / "s"
    source = CuratedSource(parse_card(making.card_2d(), "t"), tree.root)
    curate([source], store, settings=CurateSettings(cases_per_shard=2))
    tree.raster("masks/p003.png", making.disc(radius=20))
    assert curate([source], store).made == 1
    assert len(list((store / "shards").iterdir())) == 2
    assert check(Store(store)) == []


def test_processes_make_the_same_bytes_as_one_process(making, tmp_path):
    tree = making.skin(5)
    source = CuratedSource(parse_card(making.card_2d(), "t"), tree.root)
    settings = CurateSettings(cases_per_shard=2)
    curate([source], tmp_path / "one", settings=settings)
    curate([source], tmp_path / "many", settings=settings, engine="processes", workers=2)
    assert making.digest(tmp_path / "one") == making.digest(tmp_path / "many")


KILLED = """
import os, shutil, signal, sys, time
from pathlib import Path
from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.settings import CurateSettings
import medsam.data.cases.case, medsam.io.pictures.raster, zarr, zarr.codecs, numcodecs, google_crc32c, scipy.fft, pyarrow.parquet
root, out, delays = Path(sys.argv[1]), Path(sys.argv[2]), [float(a) for a in sys.argv[3:]]
source = CuratedSource(parse_card((root / "card.toml").read_text(), "t"), root)
def run(store, delay=None):
    child = os.fork()
    if child == 0:
        try:
            curate([source], store, settings=CurateSettings(cases_per_shard=2))
        except BaseException as error:
            print(type(error), error, file=sys.stderr); os._exit(1)
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
took = 99.0
for name in ("reference", "warm"):
    start = time.perf_counter(); assert run(out / name) == 0
    took = min(took, time.perf_counter() - start)
for n, delay in enumerate(delays):
    killed = os.WIFSIGNALED(run(out / f"killed{n}", delay * took))
    for again in range(12):  # it was done before: sooner, until it is killed
        if killed:
            break
        shutil.rmtree(out / f"killed{n}", ignore_errors=True)
        killed = os.WIFSIGNALED(run(out / f"killed{n}", delay * took / 1.5 ** (again + 1)))
    print(int(killed))
    assert run(out / f"killed{n}") == 0
"""


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.integration)])
def test_killed_at_random_moments_and_resumed_the_store_is_the_same_bytes(making, tmp_path, times):
    tree = making.skin(6)
    tree.write("card.toml", making.card_2d())
    rng = random.Random(5)
    delays = [f"{rng.random():.3f}" for _ in range(times)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tree.root), str(tmp_path / "out"), *delays],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"] * times  # each was killed before it was done
    reference = making.digest(tmp_path / "out" / "reference")
    assert {making.digest(tmp_path / "out" / f"killed{n}") for n in range(times)} == {reference}


FULL = """
import resource, sys
from pathlib import Path
from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.settings import CurateSettings
root, store = Path(sys.argv[1]), Path(sys.argv[2])
source = CuratedSource(parse_card((root / "card.toml").read_text(), "t"), root)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
report = curate([source], store, settings=CurateSettings(cases_per_shard=1))
print(report.made, len(report.failed_shards), report.failed_shards[0].error, report.clean)
"""


def test_a_disk_that_refuses_is_reported_and_the_next_run_finishes(making, tmp_path):
    tree = making.skin(2)
    tree.raster("images/large.png", np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8))
    tree.raster("masks/large.png", making.disc(512, 512, radius=60))
    tree.write("card.toml", making.card_2d())
    store = tmp_path / "s"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tree.root), str(store), "100000"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=2)[:2] == ["2", "1"]
    assert "not written" in done.stdout
    assert not list((store / "shards").glob(".*"))
    assert check(Store(store)) == ["skin is not complete; run medsam curate again"]
    source = CuratedSource(parse_card(making.card_2d(), "t"), tree.root)
    assert curate([source], store).clean
    curate([source], tmp_path / "whole", settings=CurateSettings(cases_per_shard=1))
    assert making.digest(store) == making.digest(tmp_path / "whole")


def test_a_card_with_a_wrong_path_is_reported_and_the_others_go_on(making, tmp_path):
    skin = making.skin(2)
    report = curate(
        [
            CuratedSource(parse_card(making.card_3d(), "t"), tmp_path / "nowhere"),
            CuratedSource(parse_card(making.card_2d(), "t"), skin.root),
        ],
        tmp_path / "s",
    )
    assert "nowhere" in report.failed_cards["scans"]
    assert report.counts["skin"].summary.pairs_kept == 2
    assert not report.clean


def test_other_settings_for_the_same_store_are_refused(making, tmp_path):
    source = CuratedSource(parse_card(making.card_2d(), "t"), making.skin(1).root)
    curate([source], tmp_path / "s")
    with pytest.raises(DataError, match="same settings"):
        curate([source], tmp_path / "s", settings=CurateSettings(seed=1))


def test_two_runs_on_one_store_at_a_time_are_refused(making, tmp_path):
    import fcntl

    source = CuratedSource(parse_card(making.card_2d(), "t"), making.skin(1).root)
    curate([source], tmp_path / "s")
    with (tmp_path / "s" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run"):
            curate([source], tmp_path / "s")


def test_the_store_does_not_depend_on_where_the_data_lies(making, tmp_path):
    making.skin(2, "here")
    os.rename(tmp_path / "here", tmp_path / "there")
    making.skin(2, "here")
    card = parse_card(making.card_2d(), "t")
    curate([CuratedSource(card, tmp_path / "here")], tmp_path / "a")
    curate([CuratedSource(card, tmp_path / "there")], tmp_path / "b")
    assert making.digest(tmp_path / "a") == making.digest(tmp_path / "b")
