"""GeoJSON in QuPath's form: exact round trips, and foreign files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from medsam import read_mask, write_mask
from medsam.errors import GeometryError, InputFileError, MedsamError
from medsam.imaging.image import Grid, Mask
from medsam.io.outlines.geojson import read_shapes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.sampled_from([0, 0, 1, 2, 77])))
def test_any_label_map_comes_back(tmp_path, labels):
    grid = Grid(labels.shape, (2.0, 0.5, 0.25))
    write_mask(Mask(labels, grid, {1: "Tumor"}, {1: (200, 0, 0)}), tmp_path / "m.geojson")
    back = read_mask(tmp_path / "m.geojson", reference=grid)
    assert np.array_equal(back.labels, labels)
    assert back.grid is grid
    assert np.array_equal(read_mask(tmp_path / "m.geojson").labels, labels)  # the file states its size


def test_the_file_says_what_qupath_reads(tmp_path):
    labels = np.zeros((1, 4, 5), dtype=int)
    labels[0, 1:3, 1:4] = 2
    write_mask(Mask(labels, Grid((1, 4, 5)), {2: "Tumor"}, {2: (200, 0, 0)}), tmp_path / "m.geojson")
    data = json.loads((tmp_path / "m.geojson").read_text())
    (feature,) = data["features"]
    assert data["type"] == "FeatureCollection"
    assert feature["properties"]["classification"] == {"name": "Tumor", "color": [200, 0, 0]}
    assert feature["properties"]["objectType"] == "annotation"
    ring = feature["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert sorted(map(tuple, ring[:-1])) == [(1, 1), (1, 3), (4, 1), (4, 3)]


def test_names_and_colours_come_back_and_made_up_names_do_not(tmp_path):
    labels = np.array([[[1, 2]]])
    write_mask(Mask(labels, Grid((1, 1, 2)), {1: "腫瘍"}, {1: (9, 8, 7)}), tmp_path / "m.geojson")
    back = read_mask(tmp_path / "m.geojson")
    assert dict(back.names) == {1: "腫瘍"}
    assert back.colors[1] == (9, 8, 7)


def test_an_empty_mask_is_an_empty_collection(tmp_path):
    write_mask(Mask(np.zeros((1, 3, 3), dtype=int), Grid((1, 3, 3))), tmp_path / "m.geojson")
    assert read_mask(tmp_path / "m.geojson").ids == ()


def feature(coordinates: object, kind: str = "Polygon", **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


SQUARE = [[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]
FAR = [[4, 0], [6, 0], [6, 2], [4, 2], [4, 0]]


def test_files_of_others_classes_by_name_multipolygons_and_the_old_colour(tmp_path):
    path = tmp_path / "m.geojson"
    old = {"name": "Stroma", "colorRGB": -3670016}  # 0xC80000
    path.write_text(
        json.dumps(
            [
                feature([[SQUARE], [FAR]], "MultiPolygon", classification=old),
                feature([3, 3], "Point", classification={"name": "Cell"}),
                feature([[[2, 0], [3, 0], [3, 1], [2, 1], [2, 0]]], classification={"name": "Tumor"}),
            ]
        )
    )
    mask = read_mask(path, reference=Grid((1, 3, 6)))
    assert mask.labels[0].tolist() == [[1, 1, 3, 0, 1, 1], [1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]]
    assert mask.names[1] == "Stroma"
    assert mask.colors[1] == (200, 0, 0)


def test_shapes_of_a_slide_are_read_without_a_label_map(tmp_path):
    path = tmp_path / "m.geojson"
    path.write_text(json.dumps(feature([[[1e5, 1e5], [2e5, 1e5], [2e5, 2e5], [1e5, 1e5]]])))
    (shape,), size = read_shapes(path)
    assert size is None
    assert shape.polygon.outer.tolist() == [[1e5, 1e5], [2e5, 1e5], [2e5, 2e5]]
    with pytest.raises(GeometryError, match="label map of at most"):
        read_mask(path, reference=Grid((1, 200_000, 200_000)))


def test_without_a_size_the_image_is_asked_for(tmp_path):
    path = tmp_path / "m.geojson"
    path.write_text(json.dumps(feature([SQUARE])))
    with pytest.raises(GeometryError, match=r"pass reference= \(--reference\)"):
        read_mask(path)


def test_polygons_outside_the_reference_are_refused(tmp_path):
    path = tmp_path / "m.geojson"
    path.write_text(json.dumps(feature([FAR])))
    with pytest.raises(GeometryError, match="x 4 to 6"):
        read_mask(path, reference=Grid((1, 3, 5)))


def test_classes_that_overlap_are_refused(tmp_path):
    path = tmp_path / "m.geojson"
    two = [feature([SQUARE], classification={"name": n}) for n in ("A", "B")]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": two}))
    with pytest.raises(InputFileError, match="overlap in 4 voxels"):
        read_mask(path, reference=Grid((1, 3, 5)))


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", "7", '"x"', '{"features": 3}', json.dumps(feature([[[0, 0]]])), json.dumps(feature([[["a", 1]] * 4])),
     json.dumps(feature(None)), "[" * 100_000, '{"type":"FeatureCollection","image":[1,2],"features":[]}'],
)  # fmt: skip
def test_what_is_not_geojson_is_refused_in_words(tmp_path, text):
    path = tmp_path / "m.geojson"
    path.write_text(text)
    with pytest.raises(MedsamError, match=r"GeoJSON|size"):
        read_mask(path)


def test_derived_classes_of_qupath_are_classes_of_their_own(tmp_path):
    path = tmp_path / "m.geojson"
    classes = [{"names": ["Tumor", "Positive"]}, {"name": "Tumor: Negative"}, "Stroma"]
    shapes = [[[2 * k, 0], [2 * k + 1 + k, 0], [2 * k + 1 + k, 1], [2 * k, 1], [2 * k, 0]] for k in range(3)]
    path.write_text(json.dumps([feature([s], classification=c) for s, c in zip(shapes, classes, strict=True)]))
    mask = read_mask(path, reference=Grid((1, 1, 8)))
    assert dict(mask.names) == {1: "Tumor: Positive", 2: "Tumor: Negative", 3: "Stroma"}
    assert [int((mask.labels == i).sum()) for i in mask.ids] == [1, 2, 3]


def test_one_label_id_for_two_classes_and_several_times_are_refused(tmp_path):
    path = tmp_path / "m.geojson"
    two = [feature([r], classification={"name": n}, metadata={"label": "4"}) for r, n in ((SQUARE, "A"), (FAR, "B"))]
    path.write_text(json.dumps(two))
    with pytest.raises(InputFileError, match="two classes one label id"):
        read_mask(path, reference=Grid((1, 3, 6)))
    times = [feature([SQUARE]), feature([FAR])]
    times[1]["geometry"]["plane"] = {"z": 0, "t": 1}
    path.write_text(json.dumps(times))
    with pytest.raises(InputFileError, match="several times"):
        read_mask(path, reference=Grid((1, 3, 6)))


def test_collections_are_opened_and_unknown_kinds_do_not_vanish(tmp_path):
    path = tmp_path / "m.geojson"
    parts = [{"type": "Polygon", "coordinates": [SQUARE]}, {"type": "Point", "coordinates": [1, 1]}]
    whole = {"type": "Feature", "geometry": {"type": "GeometryCollection", "geometries": parts}, "properties": {}}
    path.write_text(json.dumps(whole))
    assert int(read_mask(path, reference=Grid((1, 3, 6))).labels.sum()) == 4
    path.write_text(json.dumps(feature([3, 3], "Ellipse")))
    with pytest.raises(InputFileError, match="not GeoJSON of polygons"):
        read_mask(path, reference=Grid((1, 3, 6)))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "m.geojson"
    path.write_text(json.dumps(feature([SQUARE])), encoding="utf-8-sig")
    assert int(read_mask(path, reference=Grid((1, 3, 6))).labels.sum()) == 4
