"""`medsam segment` as a user runs it, on real weights."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from command import medsam, refused
from medsam import dice, read_mask, write_mask
from medsam.imaging.image import Grid, Mask

CT = "--modality CT --window soft-tissue"


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey picture of 160 x 120 pixels with a bright disc of radius 25 around (70, 60)."""
    rng = np.random.default_rng(0)
    values = np.where(truth(), 190, 70) + rng.normal(0, 4, (120, 160))
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


@pytest.fixture
def folder(disc: Path, tmp_path: Path) -> Path:
    """Three copies of the disc."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "in" / name).write_bytes(disc.read_bytes())
    return tmp_path / "in"


def truth() -> np.ndarray:
    yy, xx = np.mgrid[:120, :160]
    return (xx - 70) ** 2 + (yy - 60) ** 2 <= 25**2


def labels_of(path: Path) -> np.ndarray:
    return read_mask(path).labels


def test_box_makes_a_visible_mask_picture_and_record(disc: Path, tmp_path: Path) -> None:
    mask, picture, record = tmp_path / "mask.png", tmp_path / "look.png", tmp_path / "run.json"
    ended = medsam(f"segment {disc} --box 44,34,96,86 -o {mask} --overlay {picture} --record {record}")
    assert ended.code == 0
    values = np.asarray(Picture.open(mask))
    assert values.shape == (120, 160)
    assert set(np.unique(values)) == {0, 255}
    assert dice(values > 0, truth()) > 0.93
    assert np.asarray(Picture.open(picture)).shape[2] == 3
    written = json.loads(record.read_text())
    [row] = written["runs"]
    assert row["prompts"] == [{"label": 1, "box": [44, 34, 96, 86]}]
    assert (written["model"]["name"], written["overlap"]) == ("lite-medsam", "later")
    assert row["seconds"]["total"] > 0
    count = int((values > 0).sum())
    assert row["voxels"] == {"1": count}
    assert f"label 1: {count} voxels; expected IoU {row['scores'][0]:.2f}" in ended.out


def test_two_boxes_become_labels_one_and_two_with_the_names_and_colors_given(disc: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.seg.nrrd"
    boxes = "--box 44,34,96,86 --box 110,80,150,115"
    assert medsam(f"segment {disc} {boxes} --name tumor --name 2=cyst --color '#ff8800' -o {out}").code == 0
    mask = read_mask(out)
    assert mask.ids == (1, 2)
    assert dict(mask.names) == {1: "tumor", 2: "cyst"}
    assert mask.colors[1] == (255, 136, 0)
    coded = "--name seen --code SCT:78961009 --code 2=99LOCAL:A1:Cyst"
    assert medsam(f"segment {disc} {boxes} {coded} -o {out} --overwrite").code == 0
    mask = read_mask(out)
    assert dict(mask.names) == {1: "seen", 2: "Cyst"}
    assert dict(mask.codes) == {1: ("SCT", "78961009", "Spleen"), 2: ("99LOCAL", "A1", "Cyst")}
    for wrong in ("--name a --name b --name c", "--name 3=a", "--color red", "--color 256,0,0", "--code spleen"):
        assert refused(medsam(f"segment {disc} {boxes} {wrong} -o {tmp_path}/x.nrrd"), wrong.split()[-1])


@pytest.mark.parametrize("box", ["96,86,44,34", "44 34 96 86", "96 34 44 86"])
def test_corners_come_in_any_order_and_as_words(disc: Path, tmp_path: Path, box: str) -> None:
    assert medsam(f"segment {disc} --box {box} -o {tmp_path}/m.png").code == 0
    assert medsam(f"segment {disc} --box 44,34,96,86 -o {tmp_path}/same.png").code == 0
    assert (tmp_path / "m.png").read_bytes() == (tmp_path / "same.png").read_bytes()


def test_ct_mask_lies_on_the_scans_own_grid(ct: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.nii.gz"
    assert medsam(f"segment {ct} {CT} --slice 3 --box 31,21,69,59 -o {out}").code == 0
    scan, mask = nibabel.load(ct), nibabel.load(out)
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-5)
    labels = np.asarray(mask.dataobj)
    assert labels[:, :, 3].sum() > 500
    assert labels[:, :, [0, 1, 2, 4, 5]].sum() == 0


@pytest.mark.parametrize("plane", [None, "sagittal"])
def test_one_slice_of_a_volume_goes_to_a_picture_and_several_are_refused(
    ct: Path, tmp_path: Path, plane: str | None
) -> None:
    turned = "" if plane is None else f"--plane {plane}"
    drawn = "--slice 3 --box 31,21,69,59" if plane is None else "--slice 50 --box 21,0,59,5"
    for name in ("m.png", "m.json", "m.nii.gz"):
        assert medsam(f"segment {ct} {CT} {turned} {drawn} -o {tmp_path}/{name}").code == 0
    volume = labels_of(tmp_path / "m.nii.gz")
    wanted = volume[3] if plane is None else volume[:, :, 50]
    assert wanted.any()
    for name in ("m.png", "m.json"):
        assert np.array_equal(labels_of(tmp_path / name)[0], wanted)
    (tmp_path / "p.csv").write_text("slice,x0,y0,x1,y1\n3,31,1,69,5\n4,31,1,69,5\n")
    two = medsam(f"segment {ct} {CT} {turned} --prompts {tmp_path}/p.csv -o {tmp_path}/two.png")
    assert refused(two, "prompts on several of")
    assert not (tmp_path / "two.png").exists()


def test_one_volume_of_several_is_chosen_as_the_message_says(ct: Path, tmp_path: Path) -> None:
    hu = np.asarray(nibabel.load(ct).dataobj)
    four, out, record = tmp_path / "four.nii.gz", tmp_path / "m.nii.gz", tmp_path / "r.json"
    nibabel.save(nibabel.Nifti1Image(np.stack([np.full_like(hu, 20), hu], axis=-1), nibabel.load(ct).affine), four)
    flags = f"{CT} --slice 3 --box 31,21,69,59 -o"
    assert refused(medsam(f"segment {four} {flags} {out}"), "0 to 1 with volume= (--volume)")
    assert medsam(f"segment {four} {flags} {out} --volume 1 --record {record}").code == 0
    assert json.loads(record.read_text())["volume"] == 1
    assert medsam(f"segment {ct} {flags} {tmp_path}/alone.nii.gz").code == 0
    assert np.array_equal(labels_of(out), labels_of(tmp_path / "alone.nii.gz"))
    assert refused(medsam(f"segment {four} {flags} {tmp_path}/n.nii.gz --volume 2"), "holds no volume 2")


def test_3d_box_reaches_several_slices(ct: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.nrrd"
    assert medsam(f"segment {ct} --modality CT --window 400,40 --box 31,21,1,69,59,5 -o {out}").code == 0
    filled = labels_of(out).any(axis=(1, 2))
    assert filled[2:5].all()
    assert not filled[0]


def test_interpolate_fills_the_slices_between_the_boxes_of_a_label(ct: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("slice,label,x0,y0,x1,y1\n1,1,33,23,67,57\n5,1,33,23,67,57\n")
    call = f"segment {ct} {CT} --prompts {tmp_path}/p.csv -o {tmp_path}"
    assert medsam(f"{call}/two.nii.gz").code == 0
    assert medsam(f"{call}/all.nii.gz --interpolate").code == 0
    assert labels_of(tmp_path / "two.nii.gz").any(axis=(1, 2)).tolist() == [False, True, False, False, False, True]
    assert labels_of(tmp_path / "all.nii.gz").any(axis=(1, 2)).tolist() == [False, True, True, True, True, True]


def test_plane_turns_the_slices_and_the_mask_comes_back(ct: Path, tmp_path: Path) -> None:
    out = tmp_path / "mask.nii.gz"
    assert medsam(f"segment {ct} {CT} --plane sagittal --slice 50 --box 21,0,59,5 -o {out}").code == 0
    labels = labels_of(out)
    assert labels.shape == (6, 96, 96)
    assert labels[:, :, 50].any()
    assert not np.delete(labels, 50, axis=2).any()


def test_a_mask_is_corrected_and_the_rest_of_it_stays(ct: Path, tmp_path: Path) -> None:
    labels = np.zeros((6, 96, 96), np.uint8)
    labels[1, 30:50, 40:60] = labels[3, 38:43, 48:53] = 1  # too small on slice 3
    labels[2, 5:9, 5:9] = 2
    write_mask(Mask(labels, read_mask(ct, volume=0).grid), tmp_path / "draft.nii.gz")
    call = f"segment {ct} {CT} --from-mask {tmp_path}/draft.nii.gz --slice 3 -o {tmp_path}"
    assert medsam(f"{call}/boxed.nii.gz --box 31,21,69,59").code == 0
    made = labels_of(tmp_path / "boxed.nii.gz")
    assert np.count_nonzero(made[3] == 1) > 500
    assert np.array_equal(np.delete(made, 3, axis=0), np.delete(labels, 3, axis=0))
    write_mask(Mask(labels[:2], Grid((2, 96, 96))), tmp_path / "other.nii.gz")
    other = call.replace("draft", "other")
    assert refused(medsam(f"{other}/x.nii.gz --box 31,21,69,59"), "shape")


def test_folder_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    rows = [{"image": name, "box": [44, 34, 96, 86]} for name in ("a.png", "b.png", "c.png")]
    (tmp_path / "p.json").write_text(json.dumps({"prompts": rows}))
    call = f"segment {folder} --prompts {tmp_path}/p.json -o {tmp_path}/out"
    assert medsam(call).code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png", "medsam.json"]
    (tmp_path / "out" / "b.png").unlink()
    before = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    ended = medsam(call)
    assert ended.code == 0
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before
    assert "2 of 3 masks are there already" in ended.err
    assert "1 masks written" in ended.out
    kept = json.loads((tmp_path / "out" / "medsam.json").read_text())["runs"]
    assert sorted(Path(row["output"]).name for row in kept) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("change", "said"),
    [("--box 44,34,90,86", "prompts"), ("--box 44,34,96,86 --model openmedsam-lite", "weights"),
     ("--box 44,34,96,86 --modality MR", "modality"), ("--box 44,34,96,86 --overlap certain", "overlap")],
)  # fmt: skip
def test_masks_of_other_prompts_or_another_model_are_never_taken_for_done(
    folder: Path, tmp_path: Path, change: str, said: str
) -> None:
    call = f"segment {folder} -o {tmp_path}/out"
    assert medsam(f"{call} --box 44,34,96,86").code == 0
    before = (tmp_path / "out" / "a.png").read_bytes()
    assert refused(medsam(f"{call} {change}"), "a.png exists", said, "--overwrite")
    assert (tmp_path / "out" / "a.png").read_bytes() == before
    assert medsam(f"{call} {change} --overwrite").code == 0
    assert "3 of 3" in medsam(f"{call} {change}").err


def test_a_mask_of_unknown_origin_is_not_taken_for_done(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.png").write_bytes((folder / "b.png").read_bytes())
    ended = medsam(f"segment {folder} --box 44,34,96,86 -o {tmp_path}/out")
    assert refused(ended, "b.png exists", "how it was made")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.png"]


def test_an_output_that_exists_is_replaced_only_on_request(disc: Path, tmp_path: Path) -> None:
    call = f"segment {disc} --box 44,34,96,86 -o {tmp_path}/m.png"
    for name in ("m.png", "look.png", "run.json"):
        (tmp_path / name).write_text("mine")
        flags = f"--overlay {tmp_path}/look.png --record {tmp_path}/run.json"
        assert refused(medsam(f"{call} {flags}"), f"{name} exists already", "--overwrite")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    (tmp_path / "m.png").write_text("mine")
    assert medsam(f"{call} --overwrite").code == 0
    assert labels_of(tmp_path / "m.png").any()


def test_one_bad_file_among_many_is_named_and_the_rest_is_done(disc: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(disc.read_bytes())
    (folder / "half.png").write_bytes(disc.read_bytes()[:900])
    ended = medsam(f"segment {folder} --box 44,34,96,86 -o {tmp_path}/out --json")
    assert ended.code == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["good.png", "medsam.json"]
    assert "half.png" in ended.err
    answer = ended.json
    assert [Path(row["output"]).name for row in answer["masks"]] == ["good.png"]
    assert list(answer["failed"]) == [str(folder / "half.png")]


def test_answers_for_programs_and_silence(disc: Path, tmp_path: Path) -> None:
    call = f"segment {disc} --box 44,34,96,86 --threads 1 -o {tmp_path}"
    [row] = medsam(f"{call}/a.png --json").json["masks"]
    assert row["voxels"] == {"1": int((labels_of(tmp_path / "a.png") == 1).sum())}
    quiet = medsam(f"{call}/b.png --quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert refused(medsam(f"{call}/b.png --quiet --log-file {tmp_path}/run.log"), "exists already")
    assert "b.png exists already" in (tmp_path / "run.log").read_text()


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        ("--box 44,34,96,500", 1, "leaves the image"),
        ("--box 44,34,44,86", 1, "empty"),
        ("--box 44,34,96", 1, "four or six numbers"),
        ("--box -5,34,96,86", 1, "leaves the image"),
        ("--box 0.3,0.3,0.6,0.6", 1, "normalized coordinates"),
        ("--box 44,34,96,86 --slice 3", 1, "slice is 3"),
        ("--point 400,3", 1, "leaves the image"),
        ("", 1, "no prompts"),
        ("--box 44,34,96,86 --model no-such-model", 1, "no-such-model"),
        ("--box 44,34,96,86 --window foggy", 1, "foggy"),
        ("--box 44,34,96,86 --threads 0", 1, "threads are 0"),
        ("--box 44,34,96,86 --precision fp7", 2, "fp7"),
        ("--boxx 44,34,96,86", 2, "--boxx"),
    ],
)
def test_bad_prompts_and_flags_are_one_line(disc: Path, tmp_path: Path, extra: str, code: int, said: str) -> None:
    ended = medsam(f"segment {disc} -o {tmp_path}/m.png {extra}")
    assert ended.code == code
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_ct_without_a_window_is_refused_not_guessed(ct: Path, tmp_path: Path) -> None:
    call = f"segment {ct} --modality CT --slice 3 --box 31,21,69,59 -o {tmp_path}/m.nii.gz"
    assert refused(medsam(call), "--window")


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
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert refused(medsam(f"segment {tmp_path}/{name} --box 1,1,5,5 -o {tmp_path}/m.png"), said)
    assert not (tmp_path / "m.png").exists()


def test_output_of_unknown_suffix_is_refused_before_any_work(disc: Path, tmp_path: Path) -> None:
    assert refused(medsam(f"segment {disc} --box 44,34,96,86 -o {tmp_path}/m.xyz"), ".xyz")


def test_boxes_on_a_slide_become_polygons_in_its_own_pixels(tmp_path: Path) -> None:
    import tifffile

    yy, xx = np.mgrid[:1536, :2048]
    disc = (xx - 1500) ** 2 + (yy - 900) ** 2 <= 60**2
    levels = np.where(disc[..., None], (90, 40, 130), (230, 200, 220)).astype(np.uint8)
    slide, out = tmp_path / "slide.tif", tmp_path / "cells.geojson"
    with tifffile.TiffWriter(slide) as file:
        file.write(levels, tile=(256, 256), photometric="rgb", subifds=0)
        for step in (2, 4):
            file.write(levels[::step, ::step], tile=(256, 256), photometric="rgb", subfiletype=1)
    assert medsam(f"segment {slide} --box 1430,830,1570,970 --name nucleus -o {out}").code == 0
    [feature] = json.loads(out.read_text())["features"]
    assert feature["properties"]["classification"]["name"] == "nucleus"
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert abs(ring.min(axis=0) - (1440, 840)).max() < 12
    assert abs(ring.max(axis=0) - (1560, 960)).max() < 12
    assert refused(medsam(f"segment {slide} --point 1500,900 -o {tmp_path}/x.geojson"), "boxes")
    flat = medsam(f"segment {slide} --box 1430,830,1570,970 --interpolate -o {tmp_path}/x.geojson")
    assert refused(flat, "--interpolate on a whole slide")
