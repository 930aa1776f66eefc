"""`medsam evaluate` over lists of volumes and plain folders: by slice and as a whole, in mm, with what is wrong named."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture
from pyarrow import parquet

from medsam.cli.app import run

SPACING = (3.0, 1.0, 2.0)  # z, y, x
MODEL = """
import numpy as np
class Shifted:
    '''Fills the box, two pixels further to the right: 4 mm.'''
    def embed(self, rgb):
        return rgb.shape[:2]
    def decode(self, shape, *, boxes=None, points=None, point_labels=None):
        masks = np.zeros((len(boxes), *shape), bool)
        for mask, box in zip(masks, boxes):
            x0, y0, x1, y1 = np.round(box).astype(int)
            mask[y0:y1 + 1, x0 + 2:x1 + 3] = True
        return masks, np.full(len(boxes), 0.75, np.float32)
class Once(Shifted):
    n = 0
    def embed(self, rgb):
        self.n += 1
        if self.n == 2: raise ValueError('no')
        return super().embed(rgb)
def make(): return Shifted()
def once(): return Once()
"""


def write_volume(path, array_DHW, spacing=SPACING):
    path.parent.mkdir(parents=True, exist_ok=True)
    z, y, x = spacing
    nibabel.save(nibabel.Nifti1Image(array_DHW.T, np.diag([-x, -y, z, 1.0])), path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two MR volumes: a cuboid of class 1 on slices 1 to 3, and in the first one of class 2 on slice 4."""
    root = tmp_path / "mr_cuboids"
    for name in ("a", "b"):
        labels = np.zeros((6, 40, 48), np.uint8)
        labels[1:4, 10:30, 5:25] = 1
        labels[4, 8:20, 20:32] = 2 * (name == "a")
        rng = np.random.default_rng(0)
        write_volume(
            root / f"images/{name}.nii.gz",
            (labels.astype(np.int16) * 300 + rng.integers(0, 90, labels.shape)).astype(np.int16),
        )
        write_volume(root / f"masks/{name}.nii.gz", labels)
    (root / "labels.csv").write_text("label,name\n1,cuboid\n2,slab\n")
    (tmp_path / "shifted.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return root


def read_rows(out, name):
    return parquet.read_table(out / f"{name}.parquet").to_pylist()


EXACT = ["--models", "shifted=shifted:make", "--prompt", "margin+0"]


def test_a_plain_folder_of_volumes_is_measured_by_slice_and_as_a_whole_in_mm(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["evaluate", str(folder), *EXACT, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "NSD at 2 mm" in said
    assert "# Whole volumes" in said
    assert "| mr_cuboids | MR | 2 | 3 |" in said
    slices, whole = read_rows(out, "rows"), read_rows(out, "volumes")
    assert [row["sample"] for row in slices] == [
        "a.nii.gz[1]", "a.nii.gz[2]", "a.nii.gz[3]", "a.nii.gz[4]", "b.nii.gz[1]", "b.nii.gz[2]", "b.nii.gz[3]",
    ]  # fmt: skip
    assert [(row["sample"], row["name"], row["slices"], row["pixels"]) for row in whole] == [
        ("a.nii.gz", "cuboid", 3, 1200), ("a.nii.gz", "slab", 1, 144), ("b.nii.gz", "cuboid", 3, 1200),
    ]  # fmt: skip
    # by hand: 18 of 20 columns are common, of both; every point of the moved sides is 4 mm from the other surface
    for row in (slices[0], whole[0]):
        assert row["dice"] == pytest.approx(0.9)
        assert row["hd95"] == pytest.approx(4.0)
        assert (row["unit"], row["quality"]) == ("mm", 0.75)
    assert whole[1]["dice"] == pytest.approx(10 / 12)
    assert {row["group"] for row in slices} == {"a.nii.gz", "b.nii.gz"}


def test_rows_of_volumes_are_those_of_the_kept_masks(folder, tmp_path):
    from medsam.evaluation.metrics import dice, measure_surfaces

    out = tmp_path / "out"
    assert run(["evaluate", str(folder), *EXACT, "-o", str(out)]) == 0
    expert = nibabel.load(folder / "masks/b.nii.gz").get_fdata().T == 1
    found = np.zeros_like(expert)
    for k in (1, 2, 3):
        found[k] = np.load(out / f"masks/shifted/mr_cuboids/b.nii.gz[{k}].npz")["masks"].any(axis=0)
    nsd, hd95 = measure_surfaces(found, expert, spacing_mm=SPACING)
    row = read_rows(out, "volumes")[2]
    assert (row["dice"], row["nsd"], row["hd95"]) == pytest.approx((dice(found, expert), nsd, hd95))
    assert 0 < nsd < 1


def test_workers_and_a_run_that_was_killed_give_the_same_rows(folder, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    assert run(["evaluate", str(folder), *EXACT, "-o", str(here)]) == 0
    rows, volumes = (here / "rows.csv").read_text(), (here / "volumes.csv").read_text().splitlines()
    assert run(["evaluate", str(folder), *EXACT, "-o", str(there), "--engine", "processes", "--workers", "2"]) == 0
    keys = ("sample", "target", "dice", "nsd", "hd95", "slices")
    same = [[tuple(row[k] for k in keys) for row in read_rows(out, "volumes")] for out in (here, there)]
    assert same[0] == same[1]
    (here / "volumes.csv").write_text("\n".join(volumes[:3]) + "\n" + volumes[3][:9])  # half a row of the second volume
    (here / "rows.csv").write_text("\n".join(rows.splitlines()[:6]) + "\n")
    assert run(["evaluate", str(folder), *EXACT, "-o", str(here)]) == 0
    assert [tuple(row[k] for k in keys[:2]) for row in read_rows(here, "volumes")] == [one[:2] for one in same[0]]
    assert len(read_rows(here, "rows")) == 7


def test_a_slice_without_an_answer_is_named_in_its_row_and_in_that_of_the_volume(folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["evaluate", str(folder), "--models", "once=shifted:once", "--prompt", "margin+0", "-o", str(out)]
    assert run(command) == 3
    said = capsys.readouterr().err
    assert "once: 1 targets failed and count as 0: the model failed (ValueError)" in said
    assert "once: 1 labels of whole volumes lack answers: 1 of 3 slices: the model failed (ValueError)" in said
    rows, (first, slab, other) = read_rows(out, "rows"), read_rows(out, "volumes")
    assert [bool(row["fault"]) for row in rows] == [False, True, *[False] * 5]
    assert first["fault"] == "1 of 3 slices: the model failed (ValueError)"
    assert not slab["fault"]  # its only slice got an answer
    assert not other["fault"]
    assert first["dice"] == pytest.approx(2 * 2 * 18 / (3 * 20 + 2 * 20))  # nothing was found on one of three slices
    assert json.loads((out / "volumes.json").read_text())["datasets"][0]["failed"] == 1
    assert run(["report", str(out), "-o", str(tmp_path / "report"), "--rounds", "20"]) == 3
    assert (
        "once,1 of 3 slices: the model failed (ValueError),1"
        in (tmp_path / "report/tables/volumes-failures.csv").read_text()
    )
    assert "nothing counts as found" in (tmp_path / "report/tables/volumes-medians-dice.md").read_text()


def test_predicted_volumes_are_comparators_and_one_on_another_grid_is_a_fault(folder, tmp_path, capsys):
    shutil.copytree(folder / "masks", tmp_path / "predicted")
    labels = nibabel.load(folder / "masks/b.nii.gz").get_fdata().T.astype(np.uint8)
    write_volume(tmp_path / "predicted/b.nii.gz", labels, spacing=(3.0, 1.0, 2.5))
    command = [
        "evaluate",
        str(folder),
        "--models",
        f"x=predictions:{tmp_path / 'predicted'}",
        "-o",
        str(tmp_path / "out"),
    ]
    assert run(command) == 3
    assert "x: 3 targets failed and count as 0: the mask of shape" in capsys.readouterr().err
    assert [row["dice"] for row in read_rows(tmp_path / "out", "volumes")] == [1.0, 1.0, 0.0]
    write_volume(tmp_path / "predicted/b.nii.gz", labels[1:5])  # a part that holds all of the target
    assert run([*command[:-1], str(tmp_path / "cut")]) == 3
    assert "a prediction of (4, 40, 48) voxels" in capsys.readouterr().err
    assert [row["dice"] for row in read_rows(tmp_path / "cut", "volumes")] == [1.0, 1.0, 0.0]


def test_an_expert_mask_on_another_grid_is_refused_though_the_scan_was_measured_before(folder, tmp_path, capsys):
    command = ["evaluate", str(folder), *EXACT, "-o"]
    assert run([*command, str(tmp_path / "out")]) == 0
    labels = nibabel.load(folder / "masks/b.nii.gz").get_fdata().T.astype(np.uint8)
    write_volume(folder / "masks/b.nii.gz", labels, spacing=(3.0, 1.0, 2.5))
    assert run([*command, str(tmp_path / "other")]) == 1
    assert "mm away from the reference's" in capsys.readouterr().err


def test_a_list_tells_modality_and_window_or_the_flags_do(folder, tmp_path, capsys):
    listed = tmp_path / "scans.csv"
    pair = "mr_cuboids/images/a.nii.gz,mr_cuboids/masks/a.nii.gz"
    listed.write_text(f"image,mask\n{pair}\n")
    command = ["evaluate", str(listed), *EXACT, "-o", str(tmp_path / "out")]
    assert run(command) == 1
    assert "--modality" in capsys.readouterr().err
    assert run([*command, "--modality", "CT"]) == 1
    assert "--window" in capsys.readouterr().err
    assert run([*command[:-1], str(tmp_path / "ct"), "--modality", "CT", "--window", "bone"]) == 0
    assert read_rows(tmp_path / "ct", "volumes")[0]["modality"] == "CT"
    listed.write_text(f"image,mask,modality,split\n{pair},MR,test\n")
    assert run([*command[:-1], str(tmp_path / "mr"), "--split", "test"]) == 0
    assert {row["dataset"] for row in read_rows(tmp_path / "mr", "rows")} == {"scans"}
    listed.write_text(f"image,mask,modality\n{pair},MRT2X\n")
    assert run([*command[:-1], str(tmp_path / "no")]) == 1
    assert "MRT2X" in capsys.readouterr().err


def test_the_report_has_tables_of_volumes_and_pictures_of_slices(folder, tmp_path):
    out = tmp_path / "out"
    assert run(["evaluate", str(folder), *EXACT, "-o", str(out)]) == 0
    assert run(["report", str(out), "-o", str(tmp_path / "report")]) == 0
    table = (tmp_path / "report/tables/volumes-medians-dice.csv").read_text()
    assert 'MR,mr_cuboids,cuboid,2,"0.900 (0.900, 0.900)",0' in table
    assert len(list((tmp_path / "report/cases").glob("*.png"))) == 7
    assert "HD95 in mm" in (tmp_path / "report/tables/measures.md").read_text()


def test_pictures_of_one_name_and_pictures_of_many_pages_are_refused(tmp_path, folder, capsys):
    plain = tmp_path / "us_plain"
    for place in ("images", "masks"):
        (plain / place).mkdir(parents=True)
        Picture.fromarray(np.full((40, 48), 1, np.uint8)).save(plain / place / "a.png")
    command = ["evaluate", str(plain), *EXACT, "-o", str(tmp_path / "out")]
    assert run(command) == 0
    assert [row["unit"] for row in read_rows(tmp_path / "out", "rows")] == ["px"]
    assert not (tmp_path / "out/volumes.csv").exists()
    capsys.readouterr()
    (plain / "masks/a.png").rename(plain / "masks/b.png")
    assert run([*command[:-1], str(tmp_path / "no")]) == 1
    assert "has no mask in" in capsys.readouterr().err
    (plain / "index.csv").write_text("image,mask\nimages/a.png,masks/b.png\nother/a.png,masks/b.png\n")
    assert run([*command[:-1], str(tmp_path / "no")]) == 1
    assert "2 images named a.png" in capsys.readouterr().err
    pages = [Picture.fromarray(np.full((40, 48), k, np.uint8)) for k in range(3)]
    for place in ("images", "masks"):
        pages[0].save(plain / place / "p.tif", save_all=True, append_images=pages[1:])
    (plain / "index.csv").write_text("image,mask\nimages/p.tif,masks/p.tif\n")
    assert run([*command[:-1], str(tmp_path / "no")]) == 1
    assert "has 3 slices" in capsys.readouterr().err
