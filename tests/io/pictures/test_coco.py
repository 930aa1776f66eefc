"""COCO run lengths, checked by hand and against pycocotools where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import medsam
from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.io.pictures.coco import decode_runs, encode_runs, pack, unpack


def two_labels() -> medsam.Mask:
    labels = np.zeros((1, 4, 5), np.uint8)
    labels[0, 1:3, 1:4] = 2
    labels[0, 3, 4] = 7
    return medsam.Mask(labels, medsam.Grid((1, 4, 5)), names={2: "liver"})


def test_run_lengths_go_down_the_columns() -> None:
    region = np.array([[0, 1], [1, 1]], dtype=bool)  # columns: 0 1, 1 1
    assert encode_runs(region) == [1, 3]
    assert encode_runs(~region) == [0, 1, 3]
    assert encode_runs(np.zeros((2, 2), bool)) == [4]
    assert encode_runs(np.ones((1, 1), bool)) == [0, 1]
    assert np.array_equal(decode_runs([1, 3], (2, 2)), region)


def test_packed_text_is_cocos() -> None:
    # 6 is '6'. 40 = 8 + 1*32: low five bits 8 with "more" -> 48+40 = 'X', then 1 -> '1'.
    assert pack([6]) == "6"
    assert pack([40]) == "X1"
    # From the fourth on the difference to two places before counts: 5 - 2 = 3, and 1 - 3 = -2 -> 30 -> 'N'.
    assert pack([0, 2, 3, 5, 1]) == "0233N"
    # 16 has bit 5 of the first character set, so a second character keeps it positive: 48+48 = '`', '0'.
    assert pack([16]) == "`0"
    assert unpack("0233N") == [0, 2, 3, 5, 1]
    assert unpack("X1`0") == [40, 16]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=40))
def test_packing_comes_undone(runs: list[int]) -> None:
    assert unpack(pack(runs)) == runs


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
@settings(max_examples=60)
def test_regions_come_back_and_pycocotools_agrees(region: np.ndarray) -> None:
    runs = encode_runs(region)
    assert np.array_equal(decode_runs(runs, region.shape), region)
    tools = pytest.importorskip("pycocotools.mask")
    oracle = tools.encode(np.asfortranarray(region.astype(np.uint8)))
    assert pack(runs) == oracle["counts"].decode()
    assert np.array_equal(tools.decode({"size": list(region.shape), "counts": pack(runs)}), region)


def test_annotations_carry_box_area_and_category(tmp_path: Path) -> None:
    medsam.write_mask(two_labels(), tmp_path / "m.json", reference=tmp_path / "liver.png")
    record = json.loads((tmp_path / "m.json").read_text())
    assert record["images"] == [{"id": 1, "width": 5, "height": 4, "file_name": "liver.png"}]
    assert record["categories"] == [{"id": 2, "name": "liver"}, {"id": 7, "name": "label 7"}]
    first, second = record["annotations"]
    assert (first["category_id"], first["area"], first["bbox"]) == (2, 6, [1.0, 1.0, 3.0, 2.0])
    assert first["segmentation"] == {"size": [4, 5], "counts": pack([5, 2, 2, 2, 2, 2, 5])}
    assert second["bbox"] == [4.0, 3.0, 1.0, 1.0]


def test_masks_read_back_with_names(tmp_path: Path) -> None:
    medsam.write_mask(two_labels(), tmp_path / "m.json")
    again = medsam.read_mask(tmp_path / "m.json", reference=medsam.Grid((1, 4, 5), spacing_mm=(1, 2, 3)))
    assert np.array_equal(again.labels, two_labels().labels)
    assert dict(again.names) == {2: "liver"}
    assert again.grid.spacing_mm == (1, 2, 3)
    with pytest.raises(GeometryError):
        medsam.read_mask(tmp_path / "m.json", reference=medsam.Grid((1, 5, 4)))


def test_empty_masks_read_back(tmp_path: Path) -> None:
    medsam.write_mask(medsam.Mask(np.zeros((1, 2, 2), np.uint8), medsam.Grid((1, 2, 2))), tmp_path / "m.json")
    assert medsam.read_mask(tmp_path / "m.json").ids == ()


def test_several_slices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="one slice"):
        medsam.write_mask(medsam.Mask(np.zeros((2, 2, 2), np.uint8), medsam.Grid((2, 2, 2))), tmp_path / "m.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": []}, "no images"),
        ({"images": [{"id": 1, "width": "x", "height": 4}]}, "no COCO file"),
        ({"images": [{"id": 1, "width": 10**9, "height": 10**9}]}, "at most"),
        ({"annotations": [{"category_id": 1, "segmentation": [[0, 0, 1, 1]]}]}, "no COCO file"),
        ({"annotations": [{"category_id": 1.5, "segmentation": []}]}, "no COCO file"),
        ({"annotations": [{"category_id": float("inf"), "segmentation": []}]}, "no COCO file"),
        ({"annotations": [{"image_id": 9, "category_id": 1, "segmentation": []}]}, "other images alone"),
        ({"annotations": [{"category_id": 1, "segmentation": 7}]}, "no COCO file"),
        ({"annotations": [{"category_id": 1, "segmentation": {"size": [4, 5], "counts": "X1"}}]}, "runs of 40"),
        ({"annotations": [{"category_id": 1, "segmentation": {"size": [4, 5], "counts": "\x7f"}}]}, "no COCO file"),
        ({"annotations": [{"category_id": 1, "segmentation": {"size": [4, 5], "counts": [21, -1]}}]}, "runs of 20"),
        ({"annotations": [{"category_id": 0, "segmentation": {"size": [4, 5], "counts": [20]}}]}, "category 0"),
        ({"annotations": [{}]}, "no COCO file"),
    ],
)
def test_damaged_files_are_refused_in_words(tmp_path: Path, change: dict[str, object], words: str) -> None:
    medsam.write_mask(two_labels(), tmp_path / "m.json")
    record = json.loads((tmp_path / "m.json").read_text()) | change
    (tmp_path / "m.json").write_text(json.dumps(record))
    with pytest.raises(InputFileError, match=words):
        medsam.read_mask(tmp_path / "m.json")


@pytest.mark.parametrize("text", ["[1, 2]", "{", "hello", "[" * 100000])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(InputFileError):
        medsam.read_mask(tmp_path / "m.json")


def test_geojson_under_the_name_of_coco_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputFileError, match="it is GeoJSON: name it"):
        medsam.read_mask(tmp_path / "a.json")


def rectangle(image_id: int, category: int, x: int, y: int, width: int, height: int) -> dict[str, object]:
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {"image_id": image_id, "category_id": category, "segmentation": [corners], "iscrowd": 0}


def write_record(path: Path, images: list[int], *annotations: dict[str, object]) -> Path:
    pictures = [{"id": i, "width": 5, "height": 4, "file_name": f"{i}.png"} for i in images]
    categories = [{"id": 1, "name": "lesion"}]
    text = json.dumps({"images": pictures, "annotations": annotations, "categories": categories})
    path.write_text(text, encoding="utf-8")
    return path


def test_annotations_of_other_images_are_left_out(tmp_path: Path) -> None:
    path = write_record(tmp_path / "m.json", [7], rectangle(7, 1, 1, 1, 2, 2), rectangle(8, 1, 3, 0, 2, 4))
    assert medsam.read_mask(path).labels[0].tolist() == [[0] * 5, [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0] * 5]


def test_one_of_several_images_is_asked_for_and_chosen(tmp_path: Path) -> None:
    path = write_record(tmp_path / "m.json", [7, 8], rectangle(7, 1, 1, 1, 2, 2), rectangle(8, 1, 3, 0, 2, 4))
    with pytest.raises(InputFileError, match="2 images; expected one; choose one from 0 to 1"):
        medsam.read_mask(path)
    assert [int(medsam.read_mask(path, volume=k).labels.sum()) for k in (0, 1)] == [4, 8]
    with pytest.raises(InputFileError, match="no image 2"):
        medsam.read_mask(path, volume=2)
    with pytest.raises(InputFileError, match="share an id"):
        medsam.read_mask(write_record(tmp_path / "m.json", [7, 7]), volume=0)


def test_polygons_are_filled_by_pixel_centres_and_cut_at_the_image(tmp_path: Path) -> None:
    path = write_record(tmp_path / "m.json", [1], rectangle(1, 1, 3, 2, 9, 9), rectangle(1, 2, 0, 0, 1, 1))
    assert medsam.read_mask(path).labels[0].tolist() == [[2, 0, 0, 0, 0], [0] * 5, [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = write_record(tmp_path / "m.json", [1], rectangle(1, 1, 0, 0, 2, 1))
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert int(medsam.read_mask(path).labels.sum()) == 2
