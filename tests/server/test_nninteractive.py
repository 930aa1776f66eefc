"""nnInteractive's requests as its client makes them: leases, drawing in three dimensions, undo, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bright import BRIGHT, BrightRuntime, bright_predictor
from serving import BLOCK, OTHER, SHAPE, Served, bearer, block, serve

from medsam.imaging.image import Grid, Image
from medsam.imaging.intensity import normalize
from medsam.imaging.modality import Modality
from medsam.imaging.prompts import Prompt
from medsam.inference.predictor import Predictor
from medsam.inference.volume.spread import spread
from medsam.server.nninteractive_messages import pack_array, unpack_array

ROOT = "/nninteractive"
BOX = [[2, 3], [8, 23], [10, 33]]
BRIGHT_BLOCK = block() > 0


class Drawing:
    """A client with a lease and the mask that it was told of."""

    def __init__(self, served: Served, token: str | None = None) -> None:
        self.client, self.mask = served.client, np.zeros(SHAPE, np.uint8)
        self.auth = bearer(token) if token else bearer()
        self.lease = self.client.post(f"{ROOT}/claim", headers=self.auth).json()["lease_token"]

    def send(self, path: str, array: np.ndarray | None = None, **body: object):
        headers = self.auth | {"X-Lease-Token": self.lease}
        if array is None:
            return self.client.post(f"{ROOT}/{path}", json=body, headers=headers)
        headers |= {"X-Meta": json.dumps(body), "Content-Type": "application/octet-stream"}
        return self.client.post(f"{ROOT}/{path}", content=pack_array(array), headers=headers)

    def begin(self, values: np.ndarray | None = None) -> None:
        sent = block()[None] if values is None else values
        answer = self.send("set_image", sent, image_properties={"spacing": [3, 0.5, 0.5]})
        assert answer.json() == {"original_image_shape": [1, *sent.shape[1:]]}, answer.text
        assert self.send("set_target_buffer", shape=list(sent.shape[1:]), dtype="uint8").json() == {}

    def draw(self, kind: str, array: np.ndarray | None = None, **body: object) -> dict[str, object]:
        return self.take(self.send(f"add_{kind}_interaction", array, **{"include_interaction": True} | body))

    def take(self, answer) -> dict[str, object]:
        assert answer.status_code == 200, answer.text
        meta = json.loads(answer.headers["X-Meta"])
        if meta["bbox"] is not None:
            window = tuple(slice(*pair) for pair in meta["bbox"])
            self.mask[window] = unpack_array(memoryview(answer.content), 1 << 20)
        return meta


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("hall")) as one:
        yield one


@pytest.fixture
def drawing(hall: Served) -> Iterator[Drawing]:
    one = Drawing(hall)
    one.begin()
    yield one
    one.send("release")


def box_only() -> Predictor:
    return Predictor(BrightRuntime(), replace(BRIGHT, prompts=("box",)), weights="bright")


def test_capabilities_say_what_the_model_answers(hall: Served, tmp_path: Path) -> None:
    told = hall.client.get(f"{ROOT}/capabilities").json()
    assert all(told["supported_interactions"].values()) and told["supports_undo"] is True
    assert told["supports_zero_shot_label_refinement"] is False and told["do_autozoom"] is False
    with serve(tmp_path, box_only()) as boxes:
        told = boxes.client.get(f"{ROOT}/capabilities").json()["supported_interactions"]
        assert told["points"] is False and told["bbox2d"] is True and told["lasso"] is True


def test_a_box_on_one_slice_gives_the_object_in_three_dimensions(drawing: Drawing) -> None:
    meta = drawing.draw("bbox", bbox_coords=BOX)
    assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK) and meta["ran_prediction"] is True
    assert meta["bbox"] == [[s.start, s.stop] for s in BLOCK] and meta["dtype"] == "uint8"
    image = normalize(Image(block(), Grid(SHAPE, (3, 0.5, 0.5)), Modality.MR))
    own = spread(bright_predictor(), image, [Prompt(1, slice=2, box=(10, 8, 32, 22))]).mask.labels
    assert np.array_equal(drawing.mask, own)


@pytest.mark.parametrize("thin", [0, 1, 2])
def test_a_flat_box_along_any_axis_and_a_solid_one(drawing: Drawing, thin: int) -> None:
    box = [[0, 6], [8, 23], [10, 33]]
    box[thin] = [[2, 3], [14, 15], [20, 21]][thin]
    drawing.draw("bbox", bbox_coords=box)
    assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK)
    assert drawing.send("reset_interactions").json() == {}
    drawing.mask[:] = 0
    drawing.draw("bbox", bbox_coords=[[2, 4], [8, 23], [10, 33]])
    assert np.array_equal(np.flatnonzero(drawing.mask.any(axis=(1, 2))), [2, 3])


def test_a_click_a_stroke_and_a_lasso_give_the_object(drawing: Drawing) -> None:
    drawn = np.zeros((1, 20, 20), np.uint8)
    drawn[0, 3:8, 4:9] = 1
    bounds = [[3, 4], [10, 30], [12, 32]]
    for kind, array, body in (
        ("point", None, {"coordinates": [2, 14, 20]}),
        ("scribble", drawn, {"interaction_bbox": bounds}),
        ("scribble", (np.arange(np.prod(SHAPE)).reshape(SHAPE) == 2 * 40 * 48 + 15 * 48 + 20).astype(np.uint8), {}),
        ("lasso", np.ones((1, 13, 22), bool), {"interaction_bbox": [[3, 4], [9, 22], [11, 33]]}),
    ):
        drawing.draw(kind, array, **body)
        assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK), kind
        drawing.send("reset_interactions")
        drawing.mask[:] = 0


def test_what_lies_outside_is_taken_away_and_undo_brings_it_back(drawing: Drawing) -> None:
    drawing.draw("bbox", bbox_coords=BOX)
    drawing.draw("bbox", bbox_coords=[[1, 3], [10, 12], [0, 48]], include_interaction=False)
    assert not drawing.mask[1:3, 10:12].any() and drawing.mask[3, 10:12].any()
    drawing.draw(
        "lasso", np.ones((1, 4, 4), np.uint8), interaction_bbox=[[4, 5], [10, 14], [12, 16]], include_interaction=False
    )
    assert not drawing.mask[4, 10:14, 12:16].any()
    for rows in ([10, 12], None):
        assert drawing.take(drawing.send("undo"))["ran_prediction"] is True
        assert drawing.mask[4].sum() == 180 and (rows is None or not drawing.mask[1, 10:12].any())
    assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK)
    drawing.take(drawing.send("undo"))
    assert not drawing.mask.any() and drawing.take(drawing.send("undo"))["ran_prediction"] is False


def test_what_was_drawn_without_a_prediction_is_answered_at_once_later(drawing: Drawing) -> None:
    for box in ([[2, 3], [8, 23], [10, 33]], [[4, 5], [8, 23], [10, 33]]):
        assert drawing.draw("bbox", bbox_coords=box, run_prediction=False)["ran_prediction"] is False
    assert drawing.take(drawing.send("undo")) == {"ran_prediction": True, "bbox": None}
    drawing.take(drawing.send("predict", force_full_refine=False))
    assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK)
    assert drawing.take(drawing.send("predict"))["ran_prediction"] is False


def test_a_mask_to_begin_with_is_corrected_where_it_is_prompted(drawing: Drawing) -> None:
    begun = np.zeros(SHAPE, np.uint8)
    begun[1:5, 12:16, 14:20] = 1
    drawing.draw("initial_seg", begun, run_prediction=False)
    drawing.mask[:] = begun
    drawing.draw("bbox", bbox_coords=[[3, 4], [8, 23], [10, 33]])
    assert np.array_equal(drawing.mask[3] > 0, BRIGHT_BLOCK[3]) and np.array_equal(drawing.mask[2], begun[2])


def test_a_model_that_knows_boxes_alone_takes_strokes_and_says_that_one_click_is_too_little(tmp_path: Path) -> None:
    with serve(tmp_path, box_only()) as served:
        drawing = Drawing(served)
        drawing.begin()
        refused = drawing.send("add_point_interaction", coordinates=[2, 14, 20], include_interaction=True)
        assert refused.status_code == 422 and "draw a box" in refused.json()["detail"]
        stroke = np.zeros(SHAPE, np.uint8)
        stroke[2, np.arange(9, 22), np.arange(9, 22)] = stroke[2, 15, 9:34] = 1
        drawing.draw("scribble", stroke)
        assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK)
        drawing.draw("point", coordinates=[2, 14, 20])  # corrects


def test_two_dimensions_and_colours(drawing: Drawing) -> None:
    drawing.begin(block()[None, 2:3])
    drawing.mask = np.zeros((1, *SHAPE[1:]), np.uint8)
    drawing.draw("bbox", bbox_coords=[[0, 1], [8, 23], [10, 33]])
    assert np.array_equal(drawing.mask[0] > 0, BRIGHT_BLOCK[2])
    drawing.begin(np.repeat(block()[None].astype(np.uint8), 3, axis=0))
    drawing.mask = np.zeros(SHAPE, np.uint8)
    drawing.draw("bbox", bbox_coords=BOX)
    assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK)


def test_leases_are_counted_released_and_strangers_get_none(tmp_path: Path) -> None:
    with serve(tmp_path, max_sessions=2) as served:
        ana, bob = Drawing(served), Drawing(served, OTHER)
        full = served.client.post(f"{ROOT}/claim")
        assert full.status_code == 503 and full.headers["Retry-After"] == "10" and full.json()["detail"]
        bob.lease, own = ana.lease, bob.lease
        for path in ("heartbeat", "undo", "set_do_autozoom"):
            assert bob.send(path, do_autozoom=True).status_code == 410
        assert bob.send("set_image", block()[None]).status_code == 410
        bob.lease = own
        assert bob.send("set_do_autozoom", do_autozoom=True).json() == {}
        assert 0 < bob.send("heartbeat").json()["remaining_seconds"] <= 600
        state = served.client.get(f"{ROOT}/lease_status", headers={"X-Lease-Token": ana.lease}).json()
        assert state["idle_timeout_seconds"] == 600
        assert ana.send("release").json() == ana.send("release").json() == {"released": True}
        assert ana.send("heartbeat").status_code == 410
        assert served.client.post(f"{ROOT}/claim").status_code == 200
        assert served.client.post(f"{ROOT}/claim", headers={"Authorization": "Bearer x"}).status_code == 401
        assert served.client.get(f"{ROOT}/healthz", headers={"Authorization": ""}).json() == {"ok": True}


NAN, MANY = float("nan"), "9" * 400
BODIES: list[tuple[str, str]] = [
    (path, body)
    for path, bodies in {
        "add_bbox_interaction": [
            '{"bbox_coords": [[0,1],[0,9]], "include_interaction": true}',
            '{"bbox_coords": [[NaN,1],[0,9],[0,9]], "include_interaction": true}',
            '{"bbox_coords": [[0,1],[0,Infinity],[0,9]], "include_interaction": true}',
            f'{{"bbox_coords": [[0,1],[0,{MANY}],[0,9]], "include_interaction": true}}',
            '{"bbox_coords": [[9,12],[0,9],[0,9]], "include_interaction": true}', '{"bbox_coords": "x"}', "[]", "{", "null",
            '{"bbox_coords": [[-5,-1],[0,9],[0,9]], "include_interaction": true}', "[" * 100_000,
            '{"bbox_coords": [[0,1],[0,9],[0,9]], "include_interaction": "perhaps"}',
        ],
        "add_point_interaction": [
            '{"coordinates": [1,2], "include_interaction": true}', '{"coordinates": [1,2,99], "include_interaction": true}',
            '{"coordinates": [NaN,2,3], "include_interaction": true}', '{"coordinates": [-1,2,3], "include_interaction": true}',
            '{"coordinates": {"a": 1}, "include_interaction": true}', '{"coordinates": [1,2,3]}',
            '{"coordinates": [1,2,3], "include_interaction": false}',  # there is no object yet
        ],
        "set_target_buffer": [
            '{"shape": [6,40,48], "dtype": "object"}', '{"shape": [6,40,-48], "dtype": "uint8"}', '{"shape": [6,40], "dtype": "uint8"}',
            '{"shape": [1000000,1000000,1000000], "dtype": "uint8"}', '{"shape": [true,2,3], "dtype": "uint8"}', '{"dtype": "uint8"}',
        ],
    }.items()
    for body in bodies
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_malformed_bodies_are_answered_in_words(drawing: Drawing, path: str, body: str) -> None:
    headers = {"X-Lease-Token": drawing.lease, "Content-Type": "application/json"}
    answer = drawing.client.post(f"{ROOT}/{path}", content=body, headers=headers)
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]
    drawing.draw("bbox", bbox_coords=BOX)  # nothing of it stays in the way
    assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK)


@pytest.mark.parametrize(
    ("array", "meta"),
    [
        (np.ones(SHAPE, np.uint8), "{"), (np.ones(SHAPE, np.uint8), "[]"), (np.ones(SHAPE, np.uint8), "{}"),
        (np.zeros(SHAPE, np.uint8), '{"include_interaction": true}'), (np.full(SHAPE, NAN), '{"include_interaction": true}'),
        (np.ones((2, 2, 2), np.uint8), '{"include_interaction": true}'), (np.ones((40, 48), np.uint8), '{"include_interaction": true}'),
        (np.ones((1, 2, 2), np.uint8), '{"include_interaction": true, "interaction_bbox": [[0,1],[NaN,2],[0,2]]}'),
        (np.ones((1, 2, 2), np.uint8), '{"include_interaction": true, "interaction_bbox": [[7,8],[0,2],[0,2]]}'),
        (np.ones((1, 2, 2), np.uint8), '{"include_interaction": true, "interaction_bbox": [[0,1],[0,9],[0,2]]}'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["scribble", "lasso"])
def test_malformed_drawings_are_answered_in_words(drawing: Drawing, kind: str, array: np.ndarray, meta: str) -> None:
    headers = {"X-Lease-Token": drawing.lease, "X-Meta": meta, "Content-Type": "application/octet-stream"}
    answer = drawing.client.post(f"{ROOT}/add_{kind}_interaction", content=pack_array(array), headers=headers)
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]
    drawing.draw("bbox", bbox_coords=BOX)
    assert np.array_equal(drawing.mask > 0, BRIGHT_BLOCK)


@pytest.mark.parametrize(
    ("values", "meta"),
    [
        (np.zeros(SHAPE), "{}"), (np.full((1, *SHAPE), NAN), "{}"), (np.zeros((2, *SHAPE)), "{}"),
        (block()[None], '{"image_properties": {"spacing": [0,1,1]}}'), (block()[None], '{"image_properties": {"spacing": [1,1]}}'),
        (block()[None], '{"image_properties": {"spacing": [NaN,1,1]}}'), (block()[None], '{"image_properties": 3}'),
        (block()[None], '{"image_properties": {"spacing": "x"}}'),
    ],
)  # fmt: skip
def test_scans_that_are_none_are_refused(drawing: Drawing, values: np.ndarray, meta: str) -> None:
    headers = {"X-Lease-Token": drawing.lease, "X-Meta": meta, "Content-Type": "application/octet-stream"}
    answer = drawing.client.post(f"{ROOT}/set_image", content=pack_array(values), headers=headers)
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]


def test_before_there_is_a_scan_and_beyond_the_limit(tmp_path: Path) -> None:
    with serve(tmp_path, max_array_bytes=10_000) as served:
        drawing = Drawing(served)
        for path, body in (
            ("add_bbox_interaction", {"bbox_coords": BOX, "include_interaction": True}), ("reset_interactions", {}),
            ("set_target_buffer", {"shape": list(SHAPE), "dtype": "uint8"}),
        ):  # fmt: skip
            assert drawing.send(path, **body).status_code == 422
        assert drawing.take(drawing.send("undo"))["ran_prediction"] is False
        assert drawing.send("set_image", block()[None]).status_code == 413  # 23,040 bytes unpacked, few packed
        small = block()[None, :2]
        assert drawing.send("set_image", small).status_code == 200
        refused = drawing.send("add_bbox_interaction", bbox_coords=[[0, 1], [0, 9], [0, 9]], include_interaction=True)
        assert refused.status_code == 422 and "set_target_buffer" in refused.json()["detail"]
