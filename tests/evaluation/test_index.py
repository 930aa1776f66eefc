"""The index of a folder, and its pairs as they are read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.errors import DataError, InputFileError, IntensityError
from medsam.evaluation.index import read_index, read_pair

HEAD = "image,mask,group,mask_kind,split,licence\n"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "us_squares"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for name, size in (("a", (8, 6)), ("b", (8, 6)), ("c", (8, 7))):
        Picture.fromarray(np.full(size, 90, np.uint8)).save(root / f"images/{name}.png")
        Picture.fromarray(np.ones((8, 6), np.uint8)).save(root / f"masks/{name}.png")
    rows = [
        f"images/{n}.png,masks/{n}.png,p{n},labels,{s},{x}" for n, s, x in (("a", "val", "CC0"), ("b", "train", ""))
    ]
    (root / "index.csv").write_text(HEAD + "\n".join([*rows, "images/c.png,masks/c.png,pc,instances,val,"]) + "\n")
    return root


def test_rows_of_a_split_know_data_set_modality_and_licence(folder):
    rows = read_index(folder, "val")
    assert [(row.image.name, row.group, row.mask_kind, row.licence) for row in rows] == [
        ("a.png", "pa", "labels", "CC0"),
        ("c.png", "pc", "instances", "not stated"),
    ]
    assert {(row.dataset, row.modality) for row in rows} == {("us_squares", "ultrasound")}
    assert len(read_index(folder, None)) == 3
    assert read_index(folder.rename(folder.with_name("squares")), "val")[0].modality == "unknown"


def test_a_pair_is_read_with_its_labels(folder):
    slice_rgb, labels = read_pair(read_index(folder, "train")[0])
    assert slice_rgb.shape == (8, 6, 3)
    assert slice_rgb.dtype == np.uint8
    assert np.array_equal(labels, np.ones((8, 6)))


def test_bad_pairs_and_splits_are_refused(folder):
    first, last = read_index(folder, "val")
    with pytest.raises(DataError, match="the same size"):
        read_pair(last)
    Picture.fromarray(np.full((8, 6), 900, np.uint16)).save(first.image)
    with pytest.raises(IntensityError, match="8-bit"):
        read_pair(first)
    first.image.unlink()
    with pytest.raises(InputFileError):
        read_pair(first)
    with pytest.raises(DataError, match="expected train, val"):
        read_index(folder, "test")
