"""`medsam evaluate` as a user runs it, on real weights and on folders of real and made pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as Picture
from pyarrow import parquet

from medsam.cli.app import run
from medsam.models.catalog import fetch


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
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in again] == [
        {k: round(v, 6) if k in ("dice", "nsd") and i < 2 else v for k, v in r.items() if k != "seconds"}
        for i, r in enumerate(rows)
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
        ("image,mask\n", "lacks the columns group"),
        ("image,mask,group,mask_kind,split\na,b,c,labels,train\n", "no row of split 'val'"),
        ("image,mask,group,mask_kind,split\na,b,c,boxes,val\n", "labels or instances"),
        ("image,mask,group,mask_kind,split\nimages/a.png,masks/none.png,c,labels,val\n", "does not exist"),
    ],
)
def test_folders_that_are_no_data_set_are_refused(folder, tmp_path, capsys, text, said):
    if text is None:
        (folder / "index.csv").unlink()
    else:
        (folder / "index.csv").write_text(text)
    assert run(["evaluate", str(folder), "-o", str(tmp_path / "scores")]) == 1
    assert said in capsys.readouterr().err
