"""`medsam evaluate` as a user runs it, on real weights and on folders of real and made pictures."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image as Picture
from pyarrow import parquet

from medsam.cli.app import run
from medsam.models.weights.catalog import fetch

MEASURED = ("seconds", "memory_mb")  # other ones at every run


def keep_comparable(row):
    """A row without what every run measures anew, and with None for NaN, which equals nothing."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items() if k not in MEASURED}


@pytest.fixture
def folder(tmp_path):
    """Two pictures of two discs each: one mask by class (with a speck that is no target), one by instance."""
    fetch("lite-medsam")
    root = tmp_path / "us_discs"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    y, x = np.mgrid[:120, :160]
    first, second = (x - 45) ** 2 + (y - 60) ** 2 <= 25**2, (x - 115) ** 2 + (y - 60) ** 2 <= 22**2
    grey = np.where(first | second, 190, 60) + np.random.default_rng(0).normal(0, 5, y.shape)
    for name, labels in (("a", first + second + ((y < 3) & (x < 3))), ("b", first + 2 * second)):
        Picture.fromarray(grey.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{name}.png")
        Picture.fromarray(labels.astype(np.uint8)).save(root / "masks" / f"{name}.png")
    rows = [
        "images/a.png,masks/a.png,p1,labels,val",
        "images/b.png,masks/b.png,p2,instances,val",
        "images/b.png,masks/b.png,p3,labels,train",
    ]
    (root / "index.csv").write_text("\n".join(["image,mask,group,mask_kind,split", *rows]) + "\n")
    return root


def test_targets_are_prompted_scored_and_summed_up(folder, tmp_path, capsys):
    out = tmp_path / "scores"
    assert run(["evaluate", str(folder), "-o", str(out)]) == 0
    assert "| us_discs | ultrasound | 2 | 4 |" in capsys.readouterr().out
    rows = parquet.read_table(out / "rows.parquet").to_pylist()
    assert [(r["sample"], r["target"], r["targets"]) for r in rows] == [
        ("a.png", 0, 2),
        ("a.png", 1, 2),
        ("b.png", 0, 2),
        ("b.png", 1, 2),
    ]
    assert min(r["dice"] for r in rows) > 0.8
    assert json.loads((out / "summary.json").read_text())["datasets"][0]["targets"] == 4
    whole = (out / "rows.csv").read_text()
    # A run that was killed while it wrote the second image: its half row goes, the image is measured again.
    lines = whole.splitlines(keepends=True)
    (out / "rows.csv").write_text("".join(lines[:4]) + lines[4][:20])
    assert run(["evaluate", str(folder), "-o", str(out)]) == 0
    again = parquet.read_table(out / "rows.parquet").to_pylist()
    assert [keep_comparable(row) for row in again] == [
        {k: round(v, 6) if isinstance(v, float) and i < 2 else v for k, v in keep_comparable(row).items()}
        for i, row in enumerate(rows)
    ]


def test_a_click_is_another_prompt_and_is_compared_target_by_target(folder, tmp_path, capsys):
    for prompt in ("box", "point"):
        assert run(["evaluate", str(folder), "-o", str(tmp_path / prompt), "--prompt", prompt]) == 0
    capsys.readouterr()
    both = [parquet.read_table(tmp_path / name / "rows.parquet").to_pylist() for name in ("box", "point")]
    means = [[np.median([r[m] for r in rows]) for m in ("dice", "nsd")] for rows in both]
    assert means[0] != means[1]
    # the comparison is of what both have: without one picture of the first, of the two targets of the other
    lines = (tmp_path / "box/rows.csv").read_text().splitlines(keepends=True)
    (tmp_path / "box/rows.csv").write_text("".join(lines[:3]))
    command = ["evaluate", str(folder), "-o", str(tmp_path / "point"), "--prompt", "point"]
    assert run([*command, "--against", str(tmp_path / "box")]) == 0
    said = (tmp_path / "point/comparison.md").read_text()
    before, after = (np.median([r["dice"] for r in rows[:2]]) for rows in both)
    assert f"| us_discs | 2 | {before:.3f} -> {after:.3f} | {100 * (after - before):+.1f} |" in said
    assert said in capsys.readouterr().out
    assert run([*command, "--against", str(tmp_path)]) == 1
    assert "no rows.csv" in capsys.readouterr().err


def test_rows_of_other_settings_are_not_mixed(folder, tmp_path, capsys):
    out = tmp_path / "scores"
    assert run(["evaluate", str(folder), "-o", str(out), "--max-targets", "1"]) == 0
    assert "| us_discs | ultrasound | 2 | 2 |" in capsys.readouterr().out
    assert run(["evaluate", str(folder), "-o", str(out), "--max-targets", "1", "--seed", "3"]) == 1
    assert "other settings" in capsys.readouterr().err
    (out / "run.json").write_text("{half")
    assert run(["evaluate", str(folder), "-o", str(out), "--max-targets", "1"]) == 1
    assert "choose another -o" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no index.csv"),
        ("image,group\n", "lacks the columns mask"),
        ("image,mask\nimages/a.png,\n", "a row without image or mask"),
        ("image,mask,group,mask_kind,split\na,b,c,labels,train\n", "no row of split 'val'"),
        ("image,mask,group,mask_kind,split\na,b,c,boxes,val\n", "labels or instances"),
        ("image,mask,group,mask_kind,split\nimages/a.png,masks/none.png,c,labels,val\n", "does not exist"),
    ],
)
def test_folders_that_are_no_data_set_are_refused(folder, tmp_path, capsys, text, said):
    if text is None:
        (folder / "index.csv").unlink()
        (folder / "masks").rename(folder / "experts")
    else:
        (folder / "index.csv").write_text(text)
    assert run(["evaluate", str(folder), "-o", str(tmp_path / "scores")]) == 1
    assert said in capsys.readouterr().err


def test_several_models_get_the_same_prompts_and_failures_are_counted(folder, tmp_path, capsys, monkeypatch):
    """Masks of a first run, less one picture, against its model and against one that raises in the middle."""
    monkeypatch.chdir(tmp_path)
    assert run(["evaluate", str(folder), "-o", "first", "--model", "lite-medsam"]) == 0
    kept = tmp_path / "first/masks/lite-medsam/us_discs"
    (kept / "b.png.npz").unlink()
    (tmp_path / "half_model.py").write_text(
        "import numpy\nclass Half:\n    n = 0\n    def embed(self, x):\n        self.n += 1\n        assert self.n != 2\n"
        "        return x.shape[:2]\n    def decode(self, e, boxes=None, **k):\n"
        "        return numpy.ones((len(boxes), *e), bool), numpy.full(len(boxes), 0.5)\ndef make(): return Half()\n"
    )
    models = "lite=lite-medsam,old=predictions:first/masks/lite-medsam,half=half_model:make"
    command = ["evaluate", str(folder), "-o", "all", "--models", models]
    capsys.readouterr()
    assert run(command) == 3
    said = capsys.readouterr()
    assert "medsam: old: 2 targets failed and count as 0: no prediction" in said.err
    assert "medsam: half: 2 targets failed and count as 0: the model failed (AssertionError)" in said.err
    rows = parquet.read_table(tmp_path / "all/rows.parquet").to_pylist()
    first = parquet.read_table(tmp_path / "first/rows.parquet").to_pylist()
    by = {name: [r for r in rows if r["method"] == name] for name in ("lite", "old", "half")}
    assert [len(members) for members in by.values()] == [4, 4, 4]
    assert [r["dice"] for r in by["lite"]] == [r["dice"] for r in first]
    assert [r["dice"] for r in by["old"]] == [*(r["dice"] for r in first[:2]), 0.0, 0.0]
    assert [bool(r["fault"]) for r in by["half"]] == [False, False, True, True]
    assert run(command) == 3  # the first picture of another start is asked of both again, and old still lacks one
    again = parquet.read_table(tmp_path / "all/rows.parquet").to_pylist()
    assert sum(bool(r["fault"]) for r in again) == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--models", "a=lite-medsam,a=lite-medsam"], "two models named a"),
        (["--models", "lite-medsam", "--model", "lite-medsam"], "both --model and --models"),
        (["--models", ","], "no model"),
        (["--models", "no_such_module:make"], "could not be called"),
    ],
)
def test_models_that_are_none_are_refused(folder, tmp_path, capsys, flags, said):
    assert run(["evaluate", str(folder), "-o", str(tmp_path / "scores"), *flags]) == 1
    assert said in capsys.readouterr().err
    assert run(["evaluate", "-o", str(tmp_path / "scores")]) == 1
    assert "no data" in capsys.readouterr().err


@pytest.fixture
def discs(folder, tmp_path, monkeypatch):
    """A Python object as a model: it fills the box, counts its embeddings in a file, and dies once where it is told to."""
    (tmp_path / "filler.py").write_text(
        "import os, numpy as np\n"
        "from pathlib import Path\n"
        "LOG, DIE = Path('embedded.txt'), Path('die-once')\n"
        "class Filler:\n"
        "    def embed(self, rgb):\n"
        "        if DIE.exists():\n"
        "            DIE.unlink(); os._exit(9)\n"
        "        with LOG.open('a') as file: file.write('one\\n')\n"
        "        return rgb.shape[:2]\n"
        "    def decode(self, shape, *, boxes=None, points=None, point_labels=None):\n"
        "        n = len(points if boxes is None else boxes)\n"
        "        masks = np.zeros((n, *shape), bool)\n"
        "        for mask, box in zip(masks, [] if boxes is None else boxes):\n"
        "            x0, y0, x1, y1 = np.round(box).astype(int); mask[y0:y1 + 1, x0:x1 + 1] = True\n"
        "        return masks, np.ones(n, np.float32)\n"
        "def make(): return Filler()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (folder / "labels.csv").write_text("label,name\n1,disc\n")
    return folder


def rows_of(out):
    return [keep_comparable(row) for row in parquet.read_table(out / "rows.parquet").to_pylist()]


def test_many_prompts_share_one_embedding_and_tables_are_about_the_first(discs, tmp_path, capsys):
    out = tmp_path / "prompts"
    command = ["evaluate", str(discs), "--models", "fill=filler:make", "-o", str(out), "--prompt"]
    assert run([*command, "box,margin+20,margin-20,shift20,axes,point"]) == 0
    assert (tmp_path / "embedded.txt").read_text().count("one") == 2  # pictures
    rows = rows_of(out)
    assert [row["prompt"] for row in rows if row["sample"] == "a.png" and row["target"] == 0] == [
        "box", "margin+20", "margin-20", "shift20", "axes", "point",
    ]  # fmt: skip
    tight = np.pi / 4  # of a filled box of a disc: its Dice is 2 a / (a + 1)
    first = {row["prompt"]: row for row in rows if row["sample"] == "a.png" and row["target"] == 0}
    assert first["margin+20"]["volume_error"] > 1 / tight - 1 > first["margin-20"]["volume_error"]
    assert first["shift20"]["recall"] < 1 == first["margin+20"]["recall"]
    assert first["point"]["dice"] == 0
    assert json.loads((out / "summary.json").read_text())["datasets"][0]["targets"] == 4
    assert parquet.read_table(out / "rows.parquet")["memory_mb"].to_pylist()[0] > 20
    assert run([*command, "box,blob"]) == 1
    assert "the prompt 'blob'" in capsys.readouterr().err


def test_tasks_choose_rows_and_change_none(discs, tmp_path, capsys):
    for name, more in (("all", []), ("some", ["--tasks", "us_*/disc"])):
        assert run(["evaluate", str(discs), "--models", "fill=filler:make", "-o", str(tmp_path / name), *more]) == 0
    every, some = rows_of(tmp_path / "all"), rows_of(tmp_path / "some")
    assert {row["name"] for row in every} == {"disc", "object"}
    assert some == [row for row in every if row["name"] == "disc"]
    command = ["evaluate", str(discs), "--models", "fill=filler:make", "-o", str(tmp_path / "none")]
    assert run([*command, "--tasks", "ct_liver"]) == 1
    assert "--tasks" in capsys.readouterr().err


def test_legacy_nsd_is_nothing_where_dice_is_low(discs, tmp_path):
    far = ["--prompt", "margin+300", "--models", "fill=filler:make"]
    for nsd in ("surface", "legacy"):
        assert run(["evaluate", str(discs), *far, "--nsd", nsd, "-o", str(tmp_path / nsd)]) == 0
    before, after = (rows_of(tmp_path / nsd) for nsd in ("surface", "legacy"))
    assert [row["nsd"] for row in after] == [0.0 if row["dice"] <= 0.2 else row["nsd"] for row in before]


def test_a_killed_worker_changes_no_row(discs, tmp_path):
    command = ["evaluate", str(discs), "--models", "fill=filler:make", "--prompt", "box,shift20"]
    assert run([*command, "-o", str(tmp_path / "here")]) == 0
    (tmp_path / "die-once").touch()
    assert run([*command, "-o", str(tmp_path / "workers"), "--engine", "processes", "--workers", "2"]) == 0
    assert not (tmp_path / "die-once").exists()
    assert rows_of(tmp_path / "workers") == rows_of(tmp_path / "here")


def test_specialists_are_asked_by_modality_and_another_modality_is_a_fault(discs, tmp_path, capsys):
    from torch import device

    from medsam.baselines.specialist import SpecialistManifest, build_network, save_specialist
    from medsam.baselines.unet import plan_unet

    plan = plan_unet((32, 32), 1)
    network = build_network("unet", plan).to(device("cpu"))
    command = ["evaluate", str(discs), "--models", f"unet=specialists:{tmp_path / 'unet'}", "-o", str(tmp_path / "out")]
    assert run(command) == 1
    assert "holds no specialist" in capsys.readouterr().err
    save_specialist(network, SpecialistManifest("u", "unet", plan), tmp_path / "unet/CT/model.safetensors")
    assert run(command) == 3
    assert "unet: 4 targets failed and count as 0: no specialist for ultrasound" in capsys.readouterr().err
    save_specialist(network, SpecialistManifest("u", "unet", plan), tmp_path / "unet/US/model.safetensors")
    assert run([*command[:-1], str(tmp_path / "whole")]) == 0
    save_specialist(network, SpecialistManifest("u", "unet", plan), tmp_path / "unet/liver/model.safetensors")
    assert run([*command[:-1], str(tmp_path / "other")]) == 1
    assert "liver is named after no modality" in capsys.readouterr().err
