"""A study on Ray: networks trained and pictures measured by two workers, of which one dies, give the rows of one process."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.cli.app import run

pytestmark = pytest.mark.integration
pytest.importorskip("ray", reason="the extra `cluster` is not installed")

MORTAL = """
import os
from pathlib import Path
from medsam.baselines.filled_box import FilledBox
class Mortal(FilledBox):
    def embed(self, rgb):
        try:
            Path(os.environ['DIE_ONCE']).unlink()  # by one worker alone
        except FileNotFoundError:
            return super().embed(rgb)
        os._exit(9)
"""
RECIPE = """
engine = "{engine}"
workers = 2
rounds = 20
worst = 2
[[models]]
name = "fill"
model = "mortal:Mortal"
[[models]]
name = "unet"
network = "unet"
epochs = 1
steps_per_epoch = 2
batch_size = 2
patch_px = 32
augmentation = "none"
[[data]]
name = "us_discs"
folder = "{folder}"
"""
MEASURED_ANEW = ("seconds", "memory_mb")


def write_discs(folder: Path, count: int) -> None:
    (folder / "images").mkdir(parents=True)
    y, x = np.mgrid[:64, :80]
    lines = ["image,mask,group,mask_kind,split"]
    for k in range(count):
        disc = (x - 20 - k) ** 2 + (y - 30) ** 2 <= 12**2
        Picture.fromarray((60 + 120 * disc).astype(np.uint8)).save(folder / f"images/{k}.png")
        Picture.fromarray(disc.astype(np.uint8)).save(folder / f"images/m{k}.png")
        lines.append(f"images/{k}.png,images/m{k}.png,p{k},labels,{'train' if k < 4 else 'val'}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")


def read_rows(run_folder: Path) -> list[dict[str, str]]:
    with (run_folder / "rows.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in MEASURED_ANEW} for row in csv.DictReader(file)]


def test_a_study_on_ray_with_a_killed_worker_gives_the_rows_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_discs(tmp_path / "us_discs", 20)
    (tmp_path / "mortal.py").write_text(MORTAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DIE_ONCE", str(tmp_path / "die-once"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray's workers have it
    rows = {}
    for engine in ("local", "ray"):
        (tmp_path / f"{engine}.toml").write_text(RECIPE.format(engine=engine, folder=tmp_path / "us_discs"))
        command = ["study", "internal", "--recipe", str(tmp_path / f"{engine}.toml"), "-o", str(tmp_path / engine)]
        if engine == "ray":
            (tmp_path / "die-once").touch()
        assert run(command) == 0
        rows[engine] = read_rows(tmp_path / engine / "runs/internal")
    assert not (tmp_path / "die-once").exists()
    assert len(rows["ray"]) == 2 * 16
    fill = {engine: [row for row in of if row["method"] == "fill"] for engine, of in rows.items()}
    assert fill["ray"] == fill["local"]
    # a network that was trained in another process may differ in its last bits: what it was asked does not
    keys = ("sample", "target", "pixels", "method", "fault")
    assert [[row[k] for k in keys] for row in rows["ray"]] == [[row[k] for k in keys] for row in rows["local"]]
