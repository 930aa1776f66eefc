"""Writes are whole or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import medsam
from medsam.errors import OutputError
from medsam.files.atomic import remove_folder, replacing


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    for text in ("old", "new"):
        with replacing(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.name.endswith("a.txt")
            temporary.write_text(text)
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def fail_half_way(target: Path, error: type[BaseException]) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise error("stop")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OutputError if error is OSError else error):
        fail_half_way(target, error)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_in_the_way_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").mkdir()
    (tmp_path / "file").touch()
    mask = medsam.Mask(np.zeros((1, 2, 2), np.uint8), medsam.Grid((1, 2, 2)))
    for path in (tmp_path / "a.nii.gz", tmp_path / "file" / "a.nii.gz"):
        with pytest.raises(OutputError, match="could not be written"):
            medsam.write_mask(mask, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "file"]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".npz", ".tif", ".nhdr", ".mhd", ".seg.nrrd"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, suffix: str) -> None:
    """The file size limit of the process makes every write fail as a full disk does."""
    code = f"""
import resource, signal, sys
import numpy as np, medsam
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = np.random.default_rng(0).integers(0, 60000, (8, 64, 64))
mask = medsam.Mask(noise, medsam.Grid(noise.shape))
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    medsam.write_mask(mask, {str(tmp_path / ("m" + suffix))!r})
except medsam.MedsamError as error:
    sys.exit(0 if "could not be written" in str(error) else 3)
sys.exit(4)
"""
    (tmp_path / f"m{suffix}").write_text("old")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"m{suffix}"]
    assert (tmp_path / f"m{suffix}").read_text() == "old"


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "m.nii"
    code = f"""
import numpy as np, medsam
masks = [medsam.Mask(np.full((20, 256, 256), i, np.uint8), medsam.Grid((20, 256, 256))) for i in (1, 2)]
while True:
    for mask in masks:
        medsam.write_mask(mask, {str(target)!r})
    print("ready", flush=True)
"""
    rng = np.random.default_rng(0)
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05 + float(rng.uniform(0, 0.1)))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert len(medsam.read_mask(target).ids) == 1


def test_a_link_stays_and_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(tmp_path / "there" / "b.txt")
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "b.txt").read_text() == "new"


def test_a_folder_takes_its_name_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "shard"
    with suppress(KeyError), replacing(target) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())
    with replacing(target) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]
    assert (target / "a").read_text() == "whole"


def test_a_full_folder_is_never_replaced_and_may_be_kept(tmp_path: Path) -> None:
    (tmp_path / "shard").mkdir()
    (tmp_path / "shard" / "a").write_text("first")
    with replacing(tmp_path / "shard", keep_folder=True) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("second")
    with pytest.raises(OutputError, match=r"shard could not be written .* room for a shard"):
        replace_folder(tmp_path / "shard")
    assert [path.name for path in tmp_path.iterdir()] == ["shard"]
    assert (tmp_path / "shard" / "a").read_text() == "first"


def replace_folder(target: Path) -> None:
    with replacing(target, what="a shard") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("second")


def test_a_private_file_is_made_readable_on_request(tmp_path: Path) -> None:
    for readable, mode in ((False, 0o600), (True, 0o644)):
        with replacing(tmp_path / "a", readable=readable) as temporary:
            temporary.touch(mode=0o600)
        assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_a_folder_is_removed_at_once_and_may_be_gone_already(tmp_path: Path) -> None:
    (tmp_path / "step" / "deep").mkdir(parents=True)
    (tmp_path / "step" / "deep" / "a").touch()
    remove_folder(tmp_path / "step")
    remove_folder(tmp_path / "step")
    assert not list(tmp_path.iterdir())
