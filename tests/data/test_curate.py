"""Curation from files to a store: what is kept, what is left out and why, and that nothing depends on how it ran."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.data.cards import parse_card
from medsam.data.catalogue import read_table
from medsam.data.curate import Settings, Source, curate
from medsam.data.store import Store, check
from medsam.errors import DataError, OutputError


def reasons(store: Path) -> dict[str, str]:
    return {row["case"]: row["reason"] for row in read_table(store / "excluded.parquet").to_pylist()}


def test_pictures_keep_their_size_pixels_and_masks(making, tmp_path):
    tree = making.skin(3)
    curate([Source(parse_card(making.card_2d(), "t"), tree.root)], tmp_path / "s")
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


def test_ct_is_windowed_by_the_bounds_and_cut_into_axial_slices(making, tmp_path):
    tree = making.scans(1)
    curate([Source(parse_card(making.card_3d(), "t"), tree.root)], tmp_path / "s")
    store = Store(tmp_path / "s")
    assert len(store) == 8  # slices 2 to 9
    image, mask = store.pair(0)
    low, high = 40 - 200, 40 + 200
    expected = np.rint((np.clip(making.volume(0)[2].astype(float), low, high) - low) * 255 / (high - low))
    np.testing.assert_allclose(image[..., 0], expected, atol=1)
    np.testing.assert_array_equal(mask, making.disc() > 0)
    row = store.catalogue.slice(0, 1).to_pylist()[0]
    assert row["slice"] == 2
    assert row["spacing_z_mm"] == pytest.approx(2.5)
    assert row["window"] == "soft-tissue"


def test_sixteen_bits_are_the_same_rule_in_finer_steps(making, tmp_path):
    tree = making.scans(1)
    card = parse_card(making.card_3d(), "t")
    curate([Source(card, tree.root)], tmp_path / "eight")
    curate([Source(card, tree.root)], tmp_path / "sixteen", settings=Settings(bits=16))
    eight, sixteen = Store(tmp_path / "eight"), Store(tmp_path / "sixteen")
    assert sixteen.pair(0)[0].dtype == np.uint16
    np.testing.assert_allclose(sixteen.slice_rgb(0).astype(int), eight.slice_rgb(0).astype(int), atol=1)
    assert len(np.unique(sixteen.pair(0)[0])) > 1.2 * len(np.unique(eight.pair(0)[0]))


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
    report = curate([Source(parse_card(making.card_2d(), "t"), tree.root)], tmp_path / "s")
    assert reasons(tmp_path / "s") == {
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


def test_volumes_off_their_grid_are_refused_and_rounding_is_not(making, tmp_path):
    tree = making.scans(1)
    tree.nifti("imagesTr/off.nii.gz", making.volume(7))
    tree.nifti("labelsTr/off.nii.gz", making.ball(), shift_mm=3.0)
    tree.nifti("imagesTr/rounded.nii.gz", making.volume(8))
    tree.nifti("labelsTr/rounded.nii.gz", making.ball(), shift_mm=0.01)
    cut = tree.nifti("imagesTr/cut.nii.gz", making.volume(9))
    cut.write_bytes(cut.read_bytes()[:20000])
    tree.nifti("labelsTr/cut.nii.gz", making.ball())
    curate([Source(parse_card(making.card_3d(), "t"), tree.root)], tmp_path / "s")
    assert reasons(tmp_path / "s") == {"off": "mask on another grid", "cut": "unreadable image"}
    assert set(Store(tmp_path / "s").catalogue["case"].to_pylist()) == {"c00", "rounded"}


def test_tiny_volumes_and_branching_targets_are_counted_not_lost(making, tmp_path):
    tree = making.tree()
    labels = making.ball()
    labels[5, :20, :20] = 2  # 400 voxels, 26-connected to nothing
    tree.nifti("imagesTr/a.nii.gz", making.volume(1))
    tree.nifti("labelsTr/a.nii.gz", labels)
    report = curate([Source(parse_card(making.card_3d(), "t"), tree.root)], tmp_path / "a")
    assert report.counts["scans"].excluded_pairs == {"tiny volume": 1}
    branching = making.card_3d().replace("organ = 1", "organ = { ids = 1, branching = true }")
    report = curate([Source(parse_card(branching, "t"), tree.root)], tmp_path / "b")
    assert report.counts["scans"].excluded_pairs == {"branching target": 8, "tiny volume": 1}
    assert report.counts["scans"].summary.pairs_read == 9
    assert report.clean  # rules are no faults


def test_targets_that_overlap_lie_in_different_layers(making, tmp_path):
    tree = making.tree()
    tree.raster("images/a.png", making.picture(0, channels=3))
    tree.raster("masks/a.png", making.disc(radius=20) + making.disc(radius=10))
    card = making.card_2d().replace("lesion = 1", "disc = [1, 2]\ncup = 2")
    curate([Source(parse_card(card, "t"), tree.root)], tmp_path / "s")
    store = Store(tmp_path / "s")
    by_name = {row["target"]: store.pair(i)[1] for i, row in enumerate(store.catalogue.to_pylist())}
    np.testing.assert_array_equal(by_name["disc"], making.disc(radius=20) > 0)
    np.testing.assert_array_equal(by_name["cup"], making.disc(radius=10) > 0)


def test_running_again_changes_nothing_and_adding_keeps_what_was(making, tmp_path):
    skin, scans = making.skin(5), making.scans(1)
    first, second = (
        Source(parse_card(making.card_2d(), "t"), skin.root),
        Source(parse_card(making.card_3d(), "t"), scans.root),
    )
    store, settings = tmp_path / "s", Settings(cases_per_shard=2)
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
    source = Source(parse_card(making.card_2d(), "t"), tree.root)
    curate([source], store, settings=Settings(cases_per_shard=2))
    tree.raster("masks/p003.png", making.disc(radius=20))
    assert curate([source], store).made == 1
    assert len(list((store / "shards").iterdir())) == 2
    assert check(Store(store)) == []


def test_processes_make_the_same_bytes_as_one_process(making, tmp_path):
    tree = making.skin(5)
    source = Source(parse_card(making.card_2d(), "t"), tree.root)
    settings = Settings(cases_per_shard=2)
    curate([source], tmp_path / "one", settings=settings)
    curate([source], tmp_path / "many", settings=settings, engine="processes", workers=2)
    assert making.digest(tmp_path / "one") == making.digest(tmp_path / "many")


KILLED = """
import os, signal, sys, time
from pathlib import Path
from medsam.data.cards import parse_card
from medsam.data.curate import Settings, Source, curate
import medsam.data.cases, medsam.io.raster, zarr, zarr.codecs, numcodecs, google_crc32c, scipy.fft, pyarrow.parquet
root, out, delays = Path(sys.argv[1]), Path(sys.argv[2]), [float(a) for a in sys.argv[3:]]
source = Source(parse_card((root / "card.toml").read_text(), "t"), root)
def run(store, delay=None):
    child = os.fork()
    if child == 0:
        try:
            curate([source], store, settings=Settings(cases_per_shard=2))
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
    killed = run(out / f"killed{n}", delay * took)
    print(int(os.WIFSIGNALED(killed)))
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
    assert done.stdout.split().count("1") >= times // 4  # killed before they were done, on a busy machine too
    reference = making.digest(tmp_path / "out" / "reference")
    assert {making.digest(tmp_path / "out" / f"killed{n}") for n in range(times)} == {reference}


FULL = """
import resource, sys
from pathlib import Path
from medsam.data.cards import parse_card
from medsam.data.curate import Settings, Source, curate
root, store = Path(sys.argv[1]), Path(sys.argv[2])
source = Source(parse_card((root / "card.toml").read_text(), "t"), root)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
report = curate([source], store, settings=Settings(cases_per_shard=1))
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
    source = Source(parse_card(making.card_2d(), "t"), tree.root)
    assert curate([source], store).clean
    curate([source], tmp_path / "whole", settings=Settings(cases_per_shard=1))
    assert making.digest(store) == making.digest(tmp_path / "whole")


def test_a_card_with_a_wrong_path_is_reported_and_the_others_go_on(making, tmp_path):
    skin = making.skin(2)
    report = curate(
        [
            Source(parse_card(making.card_3d(), "t"), tmp_path / "nowhere"),
            Source(parse_card(making.card_2d(), "t"), skin.root),
        ],
        tmp_path / "s",
    )
    assert "nowhere" in report.failed_cards["scans"]
    assert report.counts["skin"].summary.pairs_kept == 2
    assert not report.clean


def test_other_settings_for_the_same_store_are_refused(making, tmp_path):
    source = Source(parse_card(making.card_2d(), "t"), making.skin(1).root)
    curate([source], tmp_path / "s")
    with pytest.raises(DataError, match="same settings"):
        curate([source], tmp_path / "s", settings=Settings(seed=1))


def test_two_runs_on_one_store_at_a_time_are_refused(making, tmp_path):
    import fcntl

    source = Source(parse_card(making.card_2d(), "t"), making.skin(1).root)
    curate([source], tmp_path / "s")
    with (tmp_path / "s" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run"):
            curate([source], tmp_path / "s")


def test_external_sets_are_held_out_and_shared_patients_are_refused(making, tmp_path):
    a, b = making.skin(3, "a"), making.skin(3, "b")
    space = '\ngroup_space = "clinic"\n[masks]'
    first = parse_card(making.card_2d("a"), "t")
    external = Source(parse_card(making.card_2d("b"), "t"), b.root, external=True)
    curate([Source(first, a.root), external], tmp_path / "s")
    splits = {row["dataset"]: row["split"] for row in Store(tmp_path / "s").catalogue.to_pylist()}
    assert splits["b"] == "external"
    assert splits["a"] != "external"
    shared = [parse_card(making.card_2d(name).replace("\n[masks]", space), "t") for name in "ab"]
    with pytest.raises(DataError, match="groups lie in two splits"):
        curate([Source(shared[0], a.root), Source(shared[1], b.root, external=True)], tmp_path / "t")


def test_near_duplicates_in_different_splits_are_listed(making, tmp_path):
    tree = making.skin(30)
    for i in range(30):  # the same pictures again, brighter and smaller, under other names
        again = Picture.fromarray(
            np.clip(making.picture(i, channels=3).astype(int) + 6, 0, 255).astype(np.uint8)
        ).resize((72, 60))
        tree.raster(f"images/again{i:03d}.png", np.asarray(again))
        tree.raster(f"masks/again{i:03d}.png", making.disc(60, 72))
    report = curate([Source(parse_card(making.card_2d(), "t"), tree.root)], tmp_path / "s")
    rows = read_table(tmp_path / "s" / "duplicates.parquet").to_pylist()
    splits = {row["case"]: row["split"] for row in Store(tmp_path / "s").catalogue.to_pylist()}
    divided = {f"p{i:03d}" for i in range(30) if splits[f"p{i:03d}"] != splits[f"again{i:03d}"]}
    assert divided
    assert report.duplicates == len(rows)
    assert {Path(min(row["file_a"], row["file_b"], key=lambda f: "again" in f)).stem for row in rows} == divided


def test_no_name_of_an_unpublished_file_reaches_the_store(making, tmp_path):
    tree = making.tree("Meier^Anna-19560312")
    for i, name in enumerate(["Meier^Anna_PID4711_20200131", "Kunz^Otto_PID4712_20200201"]):
        tree.raster(f"images/{name}.png", making.picture(i, channels=3))
        tree.raster(f"masks/{name}.png", making.disc())
    broken = tree.raster("images/Lang^Eva_PID4713.png", making.picture(5, channels=3))
    broken.write_bytes(broken.read_bytes()[:100])
    tree.raster("masks/Lang^Eva_PID4713.png", making.disc())
    tree.raster("images/Graf^Ida_PID4714.png", making.picture(6, channels=3))
    card = making.card_2d().replace("published = true", "published = false")
    report = curate([Source(parse_card(card, "t"), tree.root)], tmp_path / "s")
    assert report.counts["skin"].summary.cases_kept == 2
    everything = b"".join(str(p).encode() + p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file())
    decoded = json.dumps([read_table(p).to_pylist() for p in (tmp_path / "s").rglob("*.parquet")], default=str)
    for token in ("Meier", "Kunz", "Lang", "Graf", "PID47", "20200131", "19560312"):
        assert token.encode() not in everything
        assert token not in decoded


def test_no_name_of_a_file_inside_a_dicom_folder_reaches_the_store(making, tmp_path):
    from pydicom.data import get_testdata_file

    whole = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    tree = making.tree()
    tree.write("p1/ct/Meier^Anna_1.dcm", whole)
    tree.write("p2/ct/Kunz^Otto_1.dcm", whole[:20000])
    for patient in ("p1", "p2"):
        tree.raster(f"{patient}/m.png", making.disc(128, 128, centre=(60, 60), radius=20))
    card = making.card_2d(more='\n[exclude]\n"Lang^Eva*" = "asked to be left out"\n')
    card = card.replace("images/{image}.png", "{image}/ct/").replace("masks/{image}.png", "{image}/m.png")
    card = card.replace("dermoscopy", "CT").replace("published = true", 'window = "soft-tissue"')
    report = curate([Source(parse_card(card, "t"), tree.root)], tmp_path / "s")
    assert (report.counts["skin"].summary.cases_kept, report.counts["skin"].faults) == (1, 1)
    files = [p for p in (tmp_path / "s").rglob("*") if p.is_file()]
    decoded = json.dumps([read_table(p).to_pylist() for p in files if p.suffix == ".parquet"], default=str)
    for token in ("Meier", "Kunz", "Lang", "CompressedSamples", "20040119"):  # the last two from the header
        assert token not in decoded
        assert all(token.encode() not in p.read_bytes() for p in files)


def test_burned_in_text_is_warned_about(making, tmp_path):
    from PIL import ImageDraw, ImageFont

    tree = making.tree()
    for name, text in (("plain", ""), ("named", "PATIENT 4711")):
        canvas = Picture.fromarray(making.picture(3, 256, 256) // 2)
        if text:
            ImageDraw.Draw(canvas).text((10, 10), text, fill=255, font=ImageFont.load_default(16))
        tree.raster(f"images/{name}.png", np.asarray(canvas))
        tree.raster(f"masks/{name}.png", making.disc(256, 256, centre=(128, 128), radius=40))
    card = making.card_2d().replace("dermoscopy", "ultrasound")
    report = curate([Source(parse_card(card, "t"), tree.root)], tmp_path / "s")
    assert report.counts["skin"].summary.suspect_text == 1
    flags = {row["case"]: row["suspect_text"] for row in Store(tmp_path / "s").catalogue.to_pylist()}
    assert flags == {"plain": False, "named": True}


def test_the_store_does_not_depend_on_where_the_data_lies(making, tmp_path):
    making.skin(2, "here")
    os.rename(tmp_path / "here", tmp_path / "there")
    making.skin(2, "here")
    card = parse_card(making.card_2d(), "t")
    curate([Source(card, tmp_path / "here")], tmp_path / "a")
    curate([Source(card, tmp_path / "there")], tmp_path / "b")
    assert making.digest(tmp_path / "a") == making.digest(tmp_path / "b")
