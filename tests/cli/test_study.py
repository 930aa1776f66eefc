"""`medsam study` as a user runs it, on made discs and squares and networks of two steps."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.cli.app import run

FILLER = """
import numpy as np
class Filler:
    def embed(self, rgb):
        return rgb.shape[:2]
    def decode(self, shape, *, boxes=None, points=None, point_labels=None):
        n = len(points if boxes is None else boxes)
        masks = np.zeros((n, *shape), bool)
        for k in range(n):
            if boxes is not None:
                x0, y0, x1, y1 = np.round(boxes[k]).astype(int)
                masks[k, y0 : y1 + 1, x0 : x1 + 1] = True
            for (x, y), inside in zip(points[k], point_labels[k]) if points is not None else ():
                masks[k, max(0, int(y) - 9) : int(y) + 10, max(0, int(x) - 9) : int(x) + 10] = bool(inside)
        return masks, np.linspace(0.5, 0.9, n).astype(np.float32)
def make(): return Filler()
"""


def write_set(root, name, shape, count):
    """Pictures of a bright figure of class 1 and a grey one of class 2."""
    folder = root / name
    (folder / "images").mkdir(parents=True)
    rng, y, x = np.random.default_rng(len(name)), *np.mgrid[:64, :80]
    rows = []
    for k in range(count):
        cx, cy, r = rng.integers(18, 26), rng.integers(22, 40), rng.integers(9, 14)
        dx, dy = np.abs(x - cx), np.abs(y - cy)
        first = dx**2 + dy**2 <= r**2 if shape == "disc" else np.maximum(dx, dy) <= r
        second = first[:, ::-1]
        Picture.fromarray((60 + 120 * first + 60 * second).astype(np.uint8)).save(folder / f"images/{name}{k}.png")
        Picture.fromarray((first + 2 * second).astype(np.uint8)).save(folder / f"images/m{k}.png")
        split = "val" if k % 2 else "train"
        rows.append((f"images/{name}{k}.png", f"images/m{k}.png", f"p{k}", "labels", split))
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "mask", "group", "mask_kind", "split"), *rows])


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    for name, shape, count in (("us_discs", "disc", 8), ("mr_squares", "square", 6), ("us_far", "square", 4)):
        write_set(tmp_path / "sets", name, shape, count)
    (tmp_path / "filler.py").write_text(FILLER)
    monkeypatch.chdir(tmp_path)
    data = [
        f'[[data]]\nname = "{name}"\nfolder = "sets/{name}"\n{more}'
        for name, more in (
            ("us_discs", 'targets = { 1 = "bright", 2 = "grey" }\ncases = 3\n'),
            ("mr_squares", 'targets = "square"\n'),
            ("us_far", 'role = "external"\nimages = "us_far[13]*"\n'),
        )
    ]
    lines = [
        'max_targets = 4\nrounds = 50\nworst = 2\nsizes = [2, 7]\ntimes = "times.csv"',
        'prompts = ["box", "margin-60", "margin+0", "margin+100", "shift100", "clicks3"]',
        '[[models]]\nname = "fill"\nmodel = "filler:make"',
        '[[models]]\nname = "unet"\nnetwork = "unet"\nepochs = 1\nsteps_per_epoch = 2\nbatch_size = 2\npatch_px = 32',
        'augmentation = "none"',
        *data,
    ]
    (tmp_path / "recipe.toml").write_text("\n".join(lines))
    times = ["expert,pipeline,case,seconds", "A,manual,1,600", "A,medsam,1,120", "B,manual,1,500", "B,medsam,1,50"]
    (tmp_path / "times.csv").write_text("\n".join(times) + "\n")
    return tmp_path / "recipe.toml"


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_specialists_are_measured_inside_and_outside_and_a_second_run_does_nothing_again(recipe, tmp_path, capsys):
    command = ["study", "external", "--recipe", str(recipe), "-o", str(tmp_path / "out")]
    assert run(command) == 0
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if line.startswith("study:")] == [
        "study: prepare the data", "study: train train/unet/MR", "study: train train/unet/ultrasound",
        "study: measure internal", "study: measure external", "study: report",
    ]  # fmt: skip
    report = tmp_path / "out/report-external"
    tasks = [(r["Data set"], r["Target"], r["Cases"]) for r in table(report / "tables/medians-dice.csv")]
    assert tasks == [
        ("mr_squares", "square", "6"), ("us_discs", "bright", "3"), ("us_discs", "grey", "3"), ("us_far", "label 1", "2"),
        ("us_far", "label 2", "2"),
    ]  # fmt: skip
    assert {(r["Model"], r["Modality"], r["Steps"]) for r in table(report / "tables/training.csv")} == {
        ("unet", "MR", "2"), ("unet", "ultrasound", "2"),
    }  # fmt: skip
    runs = table(report / "figures/runs-dice.csv")
    assert [(r["Run"], r["Model"], r["Tasks"]) for r in runs] == [
        ("internal", "fill", "3"), ("internal", "unet", "3"), ("external", "fill", "2"), ("external", "unet", "2"),
    ]  # fmt: skip
    before = (tmp_path / "out/runs/internal/rows.csv").read_bytes()
    assert run(command) == 0
    assert "study: train" not in capsys.readouterr().err
    assert (tmp_path / "out/runs/internal/rows.csv").read_bytes() == before
    recipe.write_text(recipe.read_text().replace("steps_per_epoch = 2", "steps_per_epoch = 3"))
    assert run(command) == 1
    assert "begun with other models" in capsys.readouterr().err


def test_prompts_are_moved_and_clicks_counted(recipe, tmp_path, capsys):
    assert (
        run(["study", "prompts", "--recipe", str(recipe), "-o", str(tmp_path / "out")]) == 3
    )  # a U-Net refuses clicks
    assert "rows count as failed" in capsys.readouterr().err
    report = tmp_path / "out/report-prompts"
    robust = {(r["Data set"], r["Target"], r["Model"], r["Box"]): r for r in table(report / "tables/robustness.csv")}
    fill = robust["mr_squares", "square", "fill", "margin"]
    # a filled square of Dice 1 whose every side moves by px * 80 / 1024 falls below 0.95 within the first pixels
    assert 0 < float(fill["Falls by 5 points at (px)"]) < 40
    assert robust["mr_squares", "square", "fill", "shift"]["Farthest (px)"] == "100"
    clicks = table(report / "figures/clicks.csv")
    assert {row["Model"] for row in clicks} == {"fill"}
    assert [float(row["Share"]) for row in clicks] == sorted(float(row["Share"]) for row in clicks)
    failures = table(report / "tables/failures.csv")
    assert {row["Reason"] for row in failures} == {"a prompt that is no box"}
    margins = table(report / "figures/prompt-margin.csv")
    assert [float(row["px"]) for row in margins if row["Model"] == "fill"] == [-60, 0, 100]


def test_more_data_and_single_tasks_and_times(recipe, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["study", "data-size", "--recipe", str(recipe), "-o", str(out)]) == 0
    sizes = table(out / "report-data-size/figures/sizes.csv")
    assert [(r["Model"], r["Run"], r["Samples"]) for r in sizes] == [
        ("unet", "internal", "2"), ("unet", "internal", "7"), ("unet", "external", "2"), ("unet", "external", "7"),
    ]  # fmt: skip
    small = {row["image"] for row in table(out / "data-2/us_discs/index.csv")}
    assert small < {row["image"] for row in table(out / "data-7/us_discs/index.csv")}
    recipe.write_text('tasks = ["us_discs/grey"]\n' + recipe.read_text())
    assert run(["study", "task-specific", "--recipe", str(recipe), "-o", str(out)]) == 0
    assert [r["Target"] for r in table(out / "report-task-specific/tables/medians-dice.csv")] == ["grey"]
    header = json.loads((out / "train-tasks/unet/us_discs-grey/specialist.json").read_text())
    assert (header["dataset"], header["target"]) == ("us_discs", "2")
    assert run(["study", "annotation", "--recipe", str(recipe), "-o", str(out)]) == 0
    bars = table(out / "report-annotation/figures/annotation-time.csv")
    assert [(r["Expert"], r["Pipeline"], float(r["Saved (%)"])) for r in bars] == [
        ("A", "manual", 0), ("B", "manual", 0), ("A", "medsam", 80), ("B", "medsam", 90),
    ]  # fmt: skip


@pytest.mark.parametrize("engine", ["local", "processes"])
def test_the_time_of_a_recipe_ends_a_study_that_goes_on_later(engine, recipe, tmp_path, capsys):
    text = recipe.read_text()
    recipe.write_text(f'max_hours = 1e-9\nengine = "{engine}"\n' + text)
    command = ["study", "internal", "--recipe", str(recipe), "-o", str(tmp_path / "out")]
    assert run(command) == 143
    assert "the same command goes on" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("model.safetensors"))  # nothing was begun
    recipe.write_text(text)
    assert run(command) == 0


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("internal", ("[[models]]", "[[modelz]]"), "the key modelz"),
        ("internal", ("[[models]]", "[[models"), "cannot be read"),
        ("internal", ('name = "fill"', 'name = "unet"'), "two entries named unet"),
        ("external", ('role = "external"', ""), "no external data"),
        ("data-size", ("sizes = [2, 7]", ""), "no sizes"),
        ("data-size", ("sizes = [2, 7]", "sizes = [900]"), "900 training pictures"),
        ("task-specific", ("", ""), "no tasks"),
        ("annotation", ('times = "times.csv"', ""), "no times"),
        ("internal", ('images = "us_far[13]*"', 'images = "none*"'), "has no picture none*"),
    ],
)
def test_a_recipe_that_lacks_something_is_refused_in_a_line(recipe, tmp_path, capsys, kind, change, said):
    recipe.write_text(recipe.read_text().replace(*change))
    assert run(["study", kind, "--recipe", str(recipe), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("medsam: ")
    assert said in error
