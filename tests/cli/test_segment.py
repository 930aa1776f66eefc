"""`medsam segment` as a user runs it, on real weights."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

import medsam
from medsam.cli.app import run


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey picture of 160 x 120 pixels with a bright disc of radius 25 around (70, 60)."""
    yy, xx = np.mgrid[:120, :160]
    rng = np.random.default_rng(0)
    values = np.where((xx - 70) ** 2 + (yy - 60) ** 2 <= 25**2, 190, 70) + rng.normal(0, 4, (120, 160))
    path = tmp_path_factory.mktemp("disc") / "disc.png"
    Picture.fromarray(values.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT of 6 slices in HU with a ball of 120 HU in 20 HU, anisotropic and turned like a clinical NIfTI."""
    zz, yy, xx = np.mgrid[:6, :96, :96]
    hu = np.where(((zz - 3) * 4) ** 2 + (yy - 40) ** 2 + (xx - 50) ** 2 <= 18**2, 120, 20).astype(np.int16)
    affine = np.diag([-0.8, -0.8, 4.0, 1.0])
    affine[:3, 3] = (30, 25, -100)
    path = tmp_path_factory.mktemp("ct") / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hu.T, affine), path)
    return path


def disc_dice(labels: np.ndarray) -> float:
    yy, xx = np.mgrid[:120, :160]
    truth = (xx - 70) ** 2 + (yy - 60) ** 2 <= 25**2
    return 2 * (truth & (labels > 0)).sum() / (truth.sum() + (labels > 0).sum())


def test_box_makes_a_visible_mask_picture_and_record(
    disc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, picture, record = tmp_path / "mask.png", tmp_path / "look.png", tmp_path / "run.json"
    assert (
        run(
            [
                "segment",
                str(disc),
                "--box",
                "44,34,96,86",
                "-o",
                str(mask),
                "--overlay",
                str(picture),
                "--record",
                str(record),
            ]
        )
        == 0
    )
    values = np.asarray(Picture.open(mask))
    assert values.shape == (120, 160)
    assert set(np.unique(values)) == {0, 255}
    assert disc_dice(values) > 0.93
    assert np.asarray(Picture.open(picture)).shape[2] == 3
    written = json.loads(record.read_text())
    assert written["runs"][0]["prompts"] == [{"label": 1, "slice": 0, "box": [44, 34, 96, 86]}] or written["runs"][0][
        "prompts"
    ][0]["box"] == [44, 34, 96, 86]
    assert written["model"]["name"]
    assert written["runs"][0]["seconds"]["total"] > 0
    assert "label 1" in capsys.readouterr().out


def test_two_boxes_become_labels_one_and_two(disc: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.nii.gz"
    assert run(["segment", str(disc), "--box", "44,34,96,86", "--box", "110,80,150,115", "-o", str(out)]) == 0
    assert set(medsam.read_mask(out).ids) <= {1, 2}
    assert 1 in medsam.read_mask(out).ids


def test_ct_mask_lies_on_the_scans_own_grid(ct: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.nii.gz"
    assert (
        run(
            [
                "segment",
                str(ct),
                "--modality",
                "CT",
                "--window",
                "soft-tissue",
                "--slice",
                "3",
                "--box",
                "31,21,69,59",
                "-o",
                str(out),
            ]
        )
        == 0
    )
    scan, mask = nibabel.load(ct), nibabel.load(out)
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-5)
    labels = np.asarray(mask.dataobj)
    assert labels[:, :, 3].sum() > 500
    assert labels[:, :, [0, 1, 2, 4, 5]].sum() == 0


@pytest.mark.parametrize("plane", [None, "sagittal"])
def test_one_slice_of_a_volume_goes_to_a_picture_and_several_are_refused(
    ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], plane: str | None
) -> None:
    turned = [] if plane is None else ["--plane", plane]
    drawn = ["--slice", "3", "--box", "31,21,69,59"] if plane is None else ["--slice", "50", "--box", "21,0,59,5"]
    command = ["segment", str(ct), "--modality", "CT", "--window", "soft-tissue", *turned, *drawn, "-o"]
    for name in ("m.png", "m.json", "m.nii.gz"):
        assert run([*command, str(tmp_path / name)]) == 0
    volume = medsam.read_mask(tmp_path / "m.nii.gz").labels
    wanted = volume[3] if plane is None else volume[:, :, 50]
    assert wanted.any()
    for name in ("m.png", "m.json"):
        assert np.array_equal(medsam.read_mask(tmp_path / name).labels[0], wanted)
    (tmp_path / "p.csv").write_text("slice,x0,y0,x1,y1\n3,31,1,69,5\n4,31,1,69,5\n")
    two = ["--prompts", str(tmp_path / "p.csv"), "-o", str(tmp_path / "two.png")]
    assert run(["segment", str(ct), "--modality", "CT", "--window", "soft-tissue", *turned, *two]) == 1
    assert "prompts on several of" in capsys.readouterr().err
    assert not (tmp_path / "two.png").exists()


def test_one_volume_of_several_is_chosen_as_the_message_says(
    ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hu = np.asarray(nibabel.load(ct).dataobj)
    four, out = tmp_path / "four.nii.gz", tmp_path / "m.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.stack([np.full_like(hu, 20), hu], axis=-1), nibabel.load(ct).affine), four)
    flags = ["--window", "soft-tissue", "--modality", "CT", "--slice", "3", "--box", "31,21,69,59", "-o"]
    assert run(["segment", str(four), *flags, str(out)]) == 1
    assert "0 to 1 with volume= (--volume)" in capsys.readouterr().err
    assert run(["segment", str(four), *flags, str(out), "--volume", "1", "--record", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["volume"] == 1
    assert run(["segment", str(ct), *flags, str(tmp_path / "alone.nii.gz")]) == 0
    assert np.array_equal(medsam.read_mask(out).labels, medsam.read_mask(tmp_path / "alone.nii.gz").labels)
    assert run(["segment", str(four), *flags, str(out), "--volume", "2"]) == 1
    assert "holds no volume 2" in capsys.readouterr().err


def test_3d_box_reaches_several_slices(ct: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.nrrd"
    assert (
        run(["segment", str(ct), "--modality", "CT", "--window", "400,40", "--box", "31,21,1,69,59,5", "-o", str(out)])
        == 0
    )
    filled = medsam.read_mask(out).labels.any(axis=(1, 2))
    assert filled[2:5].all()
    assert not filled[0]


def test_plane_turns_the_slices_and_the_mask_comes_back(ct: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.nii.gz"
    assert (
        run(
            [
                "segment",
                str(ct),
                "--modality",
                "CT",
                "--window",
                "soft-tissue",
                "--plane",
                "sagittal",
                "--slice",
                "50",
                "--box",
                "21,0,59,5",
                "-o",
                str(out),
            ]
        )
        == 0
    )
    mask = medsam.read_mask(out)
    assert mask.labels.shape == (6, 96, 96)
    assert mask.labels[:, :, 50].any()
    assert not np.delete(mask.labels, 50, axis=2).any()


def test_folder_goes_on_where_it_stopped(disc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(disc.read_bytes())
    rows = [{"image": name, "box": [44, 34, 96, 86]} for name in ("a.png", "b.png", "c.png")]
    (tmp_path / "p.json").write_text(json.dumps({"prompts": rows}))
    arguments = ["segment", str(folder), "--prompts", str(tmp_path / "p.json"), "-o", str(tmp_path / "out")]
    assert run(arguments) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]
    (tmp_path / "out" / "b.png").unlink()
    before = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    capsys.readouterr()
    assert run(arguments) == 0
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before
    captured = capsys.readouterr()
    assert "2 of 3 masks are there already" in captured.err
    assert "1 masks written" in captured.out


def test_one_bad_file_among_many_is_named_and_the_rest_is_done(
    disc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(disc.read_bytes())
    (folder / "half.png").write_bytes(disc.read_bytes()[:900])
    assert run(["segment", str(folder), "--box", "44,34,96,86", "-o", str(tmp_path / "out")]) == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]
    assert "half.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        (["--box", "44,34,96,500"], 1, "leaves the image"),
        (["--box", "96,34,44,86"], 1, "inside out"),
        (["--box", "44,34,44,86"], 1, "empty"),
        (["--box", "44,34,96"], 1, "four or six numbers"),
        (["--box", "-5,34,96,86"], 1, "leaves the image"),
        (["--box", "44,34,96,86", "--slice", "3"], 1, "slice is 3"),
        (["--point", "400,3"], 1, "leaves the image"),
        ([], 1, "no prompts"),
        (["--box", "44,34,96,86", "--model", "no-such-model"], 1, "no-such-model"),
        (["--box", "44,34,96,86", "--window", "foggy"], 1, "foggy"),
        (["--box", "44,34,96,86", "--precision", "fp7"], 2, "fp7"),
        (["--boxx", "44,34,96,86"], 2, "--boxx"),
    ],
)
def test_bad_prompts_and_flags_are_one_line(
    disc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], code: int, said: str
) -> None:
    assert run(["segment", str(disc), "-o", str(tmp_path / "m.png"), *extra]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_ct_without_a_window_is_refused_not_guessed(
    ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            [
                "segment",
                str(ct),
                "--modality",
                "CT",
                "--slice",
                "3",
                "--box",
                "31,21,69,59",
                "-o",
                str(tmp_path / "m.nii.gz"),
            ]
        )
        == 1
    )
    assert "--window" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.png", None, "does not exist"),
        ("empty.nii.gz", b"", "empty"),
        ("text.nii.gz", b"hello, I am no image", "text.nii.gz"),
        ("text.png", b"hello", "text.png"),
        ("notes.docx", b"hello", "suffix"),
    ],
)
def test_bad_files_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run(["segment", str(tmp_path / name), "--box", "1,1,5,5", "-o", str(tmp_path / "m.png")]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "m.png").exists()


def test_output_of_unknown_suffix_is_refused_before_any_work(
    disc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["segment", str(disc), "--box", "44,34,96,86", "-o", str(tmp_path / "m.xyz")]) == 1
    assert ".xyz" in capsys.readouterr().err


def test_boxes_on_a_slide_become_polygons_in_its_own_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tifffile

    yy, xx = np.mgrid[:1536, :2048]
    disc = (xx - 1500) ** 2 + (yy - 900) ** 2 <= 60**2
    levels = np.where(disc[..., None], (90, 40, 130), (230, 200, 220)).astype(np.uint8)
    slide, out = tmp_path / "slide.tif", tmp_path / "cells.geojson"
    with tifffile.TiffWriter(slide) as file:
        file.write(levels, tile=(256, 256), photometric="rgb", subifds=0)
        for step in (2, 4):
            file.write(levels[::step, ::step], tile=(256, 256), photometric="rgb", subfiletype=1)
    assert run(["segment", str(slide), "--box", "1430,830,1570,970", "-o", str(out)]) == 0
    [feature] = json.loads(out.read_text())["features"]
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert abs(ring.min(axis=0) - (1440, 840)).max() < 12
    assert abs(ring.max(axis=0) - (1560, 960)).max() < 12
    assert run(["segment", str(slide), "--point", "1500,900", "-o", str(out)]) == 1
    assert "boxes" in capsys.readouterr().err
