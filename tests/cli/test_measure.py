"""`medsam measure` as a user runs it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from dicom_phantom import Phantom, write_series
from PIL import Image as Picture

from command import medsam, refused
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import read_image, write_mask


@pytest.fixture
def mask(tmp_path):
    labels = np.zeros((4, 20, 20), np.uint8)
    labels[1, 2:6, 3:6] = 1  # 3 by 4 pixels of 1 mm: a diagonal of 5
    labels[2, 12:14, 12:14] = 1
    path = tmp_path / "m.nii.gz"
    write_mask(Mask(labels, Grid(labels.shape, spacing_mm=(2.5, 1, 1))), path)
    return path


def test_table_csv_and_json_say_the_same(mask, tmp_path):
    header, row = medsam(f"measure {mask}").out.splitlines()
    assert header.split() == [
        "label", "voxels", "volume_mm3", "volume_ml", "long_axis_mm", "short_axis_mm", "slice", "position_mm",
    ]  # fmt: skip
    assert row.split() == ["1", "16", "40.0", "0.040", "5.0", "3.8", "1", "2.5"]
    assert medsam(f"measure {mask} -o {tmp_path}/m.csv").out == ""
    [line] = csv.DictReader((tmp_path / "m.csv").read_text().splitlines())
    assert (line["long_axis_mm"], line["volume_ml"], line["slice"]) == ("5.0", "0.040", "1")
    for flag in ("--format json", "--json"):
        rows = json.loads(medsam(f"measure {mask} {flag} --components").out)
        assert [(r["component"], r["voxels"], r["slice"]) for r in rows] == [(1, 12, 1), (2, 4, 2)]
    assert refused(medsam(f"measure {mask} -o {tmp_path}/m.csv"), "exists already", "--overwrite")
    assert medsam(f"measure {mask} -o {tmp_path}/m.csv --overwrite").code == 0


def test_a_segmentation_says_whose_slices_it_counts_and_where_they_lie(tmp_path):
    series, segmentation = tmp_path / "series", tmp_path / "seg.dcm"
    write_series(series, Phantom())  # six axial slices, 3 mm apart from z 100
    grid = read_image(series).grid
    labels = np.zeros(grid.shape, np.uint8)
    labels[4, 2:4, 2:4] = labels[5, 2:6, 2:7] = 1
    write_mask(Mask(labels, grid), segmentation, reference=series)
    found = []
    for flags in ("", f"--reference {series}"):
        ended = medsam(f"measure {segmentation} --json {flags}")
        [row] = ended.json
        found.append((row["slice"], row["position_mm"], ended.err.count("\n")))
        assert flags or "of the SEG itself; --reference" in ended.err
    assert found == [(1, 115.0, 1), (5, 115.0, 0)]


def test_a_picture_needs_a_spacing_and_has_areas(tmp_path):
    path = tmp_path / "m.png"
    Picture.fromarray(np.pad(np.full((3, 4), 255, np.uint8), 4)).save(path)
    assert refused(medsam(f"measure {path}"), "--spacing")
    [row] = medsam(f"measure {path} --spacing 1,1,1 --json").json
    assert (row["long_axis_mm"], row["position_mm"], row["volume_mm3"], row["area_mm2"]) == (5, None, 12, None)
    [row] = medsam(f"measure {path} --spacing 0.2,0.2 --json").json  # 3 x 4 pixels of 0.04 mm2
    assert row["area_mm2"] == pytest.approx(0.48)
    assert row["long_axis_mm"] == pytest.approx(1)
    assert row["volume_mm3"] is row["volume_ml"] is None
    assert medsam(f"measure {path} --spacing 0.2,0.2").out.split()[2:6] == [
        "long_axis_mm", "short_axis_mm", "slice", "area_mm2",
    ]  # fmt: skip
    assert refused(medsam(f"measure {path} --spacing 1"), "y,x for one slice")


def test_two_numbers_are_no_spacing_of_a_volume(mask):
    assert refused(medsam(f"measure {mask} --spacing 1,1"), "for 4 slices", "z,y,x")


def test_one_volume_of_several_is_measured(mask, tmp_path):
    import nibabel

    one = nibabel.load(mask)
    four = np.stack([np.zeros_like(np.asarray(one.dataobj)), np.asarray(one.dataobj)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(four, one.affine), tmp_path / "four.nii.gz")
    alone = medsam(f"measure {mask} --format csv").out
    assert refused(medsam(f"measure {tmp_path}/four.nii.gz"), "--volume")
    assert medsam(f"measure {tmp_path}/four.nii.gz --volume 1 --format csv").out == alone
