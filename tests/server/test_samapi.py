"""QuPath's requests as its SAM extension makes them, and what is no tile."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image as Picture
from serving import TOKEN, Served, serve

from medsam.io.outlines.contours import fill

TILE = np.full((60, 80, 3), 40, np.uint8)
TILE[10:30, 20:50] = 220
TILE[15:20, 25:30] = 40  # a hole
TILE[40:50, 60:70] = 220  # another object, far away
ROOT = f"/qupath/{TOKEN}/sam/"


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("hall")) as one:
        one.client.headers.pop("Authorization")
        yield one


def encoded(array: np.ndarray, form: str = "PNG") -> str:
    data = io.BytesIO()
    Picture.fromarray(array).save(data, form)
    return base64.b64encode(data.getvalue()).decode()


def ask(hall: Served, root: str = ROOT, **more: object):
    body = {"type": "vit_l", "b64img": encoded(TILE), "multimask_output": True, "checkpoint_url": "openmedsam:x"} | more
    headers = {"Content-Type": "application/json; charset=utf-8", "accept": "application/json"}
    return hall.client.post(root, content=json.dumps(body), headers=headers)


def filled(feature: dict[str, object]) -> np.ndarray:
    geometry = feature["geometry"]
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    return fill([np.array(ring[:-1], float) for polygon in polygons for ring in polygon], 60, 80)


def test_a_rectangle_gives_a_feature_with_its_holes(hall: Served) -> None:
    [feature] = ask(hall, bbox=[18, 8, 53, 33]).json()
    mask = (TILE[..., 0] > 127) & (np.arange(80) < 55)
    assert np.array_equal(filled(feature), mask) and len(feature["geometry"]["coordinates"]) == 2
    assert feature["type"] == "Feature" and feature["properties"]["sam_model"] == "bright"
    assert feature["properties"]["object_idx"] == 0 and 0 <= feature["properties"]["quality"] <= 1


def test_points_give_all_pieces_and_a_box_over_the_rim_is_cut(hall: Served) -> None:
    points = {"point_coords": [[5, 5], [30, 12]], "point_labels": [0, 1]}
    [both] = ask(hall, **points).json()
    assert both["geometry"]["type"] == "MultiPolygon" and np.array_equal(filled(both), TILE[..., 0] > 127)
    [cut] = ask(hall, bbox=[55, 35, 95, 70], b64img=encoded(TILE, "JPEG")).json()
    assert np.mean(filled(cut) == ((TILE[..., 0] > 127) & (np.arange(80) > 54))) > 0.99
    assert ask(hall, bbox=[0, 50, 30, 60]).json() == []  # nothing there


def test_the_questions_beside_it_are_answered(hall: Served) -> None:
    get = hall.client.get
    assert get(f"{ROOT}version/").text == "0.6.0" and get(f"{ROOT}progress/").json() == {"message": None, "percent": -1}
    assert get(f"{ROOT}weights/?type=vit_l").json() == [{"type": "vit_l", "name": "bright", "url": "openmedsam:bright"}]
    assert get(f"{ROOT}weights/cancel/").status_code == 200
    for path in ("automask", "video", "upload", "weights", "sam3"):
        answer = hall.client.post(f"{ROOT}{path}/", json={})
        assert answer.status_code == 501 and "rectangle" in answer.json()["detail"]


def test_the_token_in_the_address_opens_this_door_alone(hall: Served) -> None:
    assert ask(hall, f"/qupath/{'x' * 20}/sam/", bbox=[1, 1, 9, 9]).status_code == 401
    assert ask(hall, "/sam/", bbox=[1, 1, 9, 9]).status_code == 401
    for path in ("api/v1/cases", "sam/../api/v1/cases", "sam", "metrics"):
        assert hall.client.get(f"/qupath/{TOKEN}/{path}").status_code in (401, 404)


BOMB = "iVBORw0KGgoAAAANSUhEUgAAw1AAAMNQCAIAAAA="  # a header of 50,000 x 50,000 pixels


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 422), ({"b64img": "x", "bbox": [1, 1, 9, 9]}, 400), ({"b64img": "", "bbox": [1, 1, 9, 9]}, 400),
        ({"b64img": BOMB, "bbox": [1, 1, 9, 9]}, 400), ({"b64img": encoded(TILE)[:200], "bbox": [1, 1, 9, 9]}, 400),
        ({"b64img": encoded(TILE, "GIF"), "bbox": [1, 1, 9, 9]}, 400), ({"b64img": 7, "bbox": [1, 1, 9, 9]}, 422),
        ({"bbox": [1, 1, 9]}, 422), ({"bbox": [1, 1, 9, 1 << 70]}, 422), ({"bbox": "1,1,9,9"}, 422),
        ({"bbox": [float("nan"), 1, 9, 9]}, 422), ({"bbox": [float("inf"), 1, 9, 9]}, 422),
        ({"point_coords": [[5, 5]]}, 422), ({"point_coords": [[5, 5]], "point_labels": [2]}, 422),
        ({"point_coords": [[5, 5]], "point_labels": [0]}, 422), ({"point_coords": [[-5, 5]], "point_labels": [1]}, 422),
        ({"point_coords": [[500, 5]], "point_labels": [1]}, 422), ({"point_coords": [[1, 1]] * 1001, "point_labels": [1]}, 422),
        ({"bbox": [1, 1, 9, 9], "b64mask": encoded(TILE[:9])}, 422), ({"bbox": [1, 1, 9, 9], "b64mask": "?"}, 400),
    ],
)  # fmt: skip
def test_what_is_no_tile_or_prompt_is_refused_in_words(hall: Served, more: dict[str, object], status: int) -> None:
    answer = ask(hall, **more)
    assert answer.status_code == status and answer.json()["detail"]
