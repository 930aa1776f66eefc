"""What other viewers send, for a walk: an OpenAPI document of their routes, and bodies that are likely or nearly so."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import strategies as st
from PIL import Image as Picture
from serving import SHAPE

from medsam.server import dicom_proxy, monailabel, nninteractive, samapi
from medsam.server.nninteractive_messages import pack_array

FORMS = {
    "/monailabel/session/": "files", "/monailabel/datastore/": "file", "/monailabel/datastore/image": "file",
    "/monailabel/datastore/label": "label", "/monailabel/infer/{model}": "label",
}  # fmt: skip
ARRAYS = ("set_image", "add_scribble_interaction", "add_lasso_interaction", "add_initial_seg_interaction")
NAMES = ("a.nii.gz", "label.nrrd", "label.bin", "x.nii", "a.exe", "")
Body = dict[str, Any]  # arguments of httpx
NUMBER = st.one_of(
    st.integers(-5, 60), st.floats(-5, 60), st.sampled_from([1e9, -1e9, 1e308, float("nan"), None, "x", True])
)
ROI, BOX = [10, 32, 8, 22, 1, 4], [[2, 3], [8, 22], [10, 32]]  # around the bright block of the scan
TRIPLE = st.lists(NUMBER, min_size=3, max_size=3)


def viewers_document() -> dict[str, Any]:
    """The routes that the server's own document leaves out, with the bodies that they read by themselves."""
    app = FastAPI(title="viewers", version="1")
    for part in (monailabel, dicom_proxy, nninteractive, samapi):
        for route in part.router.routes:
            assert isinstance(route, APIRoute)
            app.add_api_route(route.path, route.endpoint, methods=sorted(route.methods))
    document = app.openapi()
    octets = {"schema": {"type": "string", "format": "binary"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path in FORMS and method in ("put", "post"):
                fields = {FORMS[path]: octets["schema"], "params": {"type": "string"}}
                form = {"schema": {"type": "object", "properties": fields}}
                operation["requestBody"] = {"content": {"multipart/form-data": form}}
            elif path.rpartition("/")[2] in ARRAYS:
                operation["requestBody"] = {"content": {"application/octet-stream": octets}}
                meta = {"name": "X-Meta", "in": "header", "schema": {"type": "string"}}
                operation.setdefault("parameters", []).append(meta)
    return document


@st.composite
def likely_bodies(draw: st.DrawFn, path: str, scan: bytes) -> Body | None:
    """Arguments of a request as the viewer of a route would send it, or nearly; None where any body does."""
    if path in FORMS:
        data = draw(st.sampled_from([scan, scan[:-9], bytes(np.prod(SHAPE)), b""]))
        files = {FORMS[path]: (draw(st.sampled_from(NAMES)), data), "params": (None, draw(_params()))}
        return {"files": files}
    name = path.rpartition("/")[2]
    if name in ARRAYS:
        shape = draw(st.sampled_from([SHAPE, (1, *SHAPE), (3, *SHAPE), (1, 1, 4, 5), (2, 3), (1, 6, 40, 1)]))
        dtype = draw(st.sampled_from(["uint8", "int16", "float32", "bool", "float64"]))
        values = np.zeros(shape, dtype)
        values[..., -2:, draw(st.integers(0, 1)) :] = 1
        packed = pack_array(values)
        cut = draw(st.integers(0, len(packed)))
        content = draw(st.sampled_from([packed, packed, packed[:cut] + b"\xff" + packed[cut + 1 :]]))
        return {"content": content, "headers": {"X-Meta": json.dumps(draw(_meta()))}}
    if name in ("add_bbox_interaction", "add_point_interaction"):
        flags = {"include_interaction": draw(st.booleans()), "run_prediction": draw(st.booleans())}
        box = draw(st.just(BOX) | st.lists(st.lists(NUMBER, min_size=2, max_size=2), min_size=3, max_size=3))
        at = draw(st.just([2, 12, 14]) | TRIPLE)
        return {"content": _json(flags | {"bbox_coords": box, "coordinates": at}), "headers": JSON}
    if path == "/sam/":
        return {"content": _json(draw(_tile())), "headers": JSON}
    return None


JSON = {"Content-Type": "application/json"}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


@st.composite
def _params(draw: st.DrawFn) -> str:
    told = {
        "foreground": draw(st.just([[14, 12, 2]]) | st.lists(TRIPLE, max_size=3)), "background": draw(st.lists(TRIPLE, max_size=2)),
        "roi": draw(st.just(ROI) | st.lists(NUMBER, max_size=6)), "slice": draw(st.just(2) | NUMBER), "label": draw(st.text(max_size=5)),
        "result_extension": draw(st.sampled_from([".nrrd", ".nii.gz", "/../x", 7])), "result_compress": draw(st.booleans()),
        "label_info": [{"name": draw(st.text(max_size=3)), "idx": draw(NUMBER)}],
    }  # fmt: skip
    kept = draw(st.sets(st.sampled_from(sorted(told))))
    return draw(st.sampled_from([json.dumps({name: told[name] for name in kept}), "[]", "{", ""]))


@st.composite
def _meta(draw: st.DrawFn) -> dict[str, object]:
    box = st.none() | st.lists(st.lists(NUMBER, min_size=2, max_size=2), min_size=3, max_size=3)
    return {
        "include_interaction": draw(st.booleans()), "interaction_bbox": draw(box),
        "image_properties": {"spacing": draw(st.none() | TRIPLE)},
    }  # fmt: skip


@st.composite
def _tile(draw: st.DrawFn) -> dict[str, object]:
    def picture(mode: str) -> str:
        data = io.BytesIO()
        Picture.new(mode, (draw(st.integers(1, 60)), draw(st.integers(1, 60))), 200).save(data, "PNG")
        return base64.b64encode(data.getvalue()).decode()

    corner = st.integers(-9, 70) | st.sampled_from([1 << 31, -(1 << 31)])
    told: dict[str, object] = {"b64img": picture(draw(st.sampled_from(["RGB", "L", "RGBA", "1"])))}
    if draw(st.booleans()):
        told["bbox"] = draw(st.lists(corner, min_size=4, max_size=4))
    if draw(st.booleans()):
        points = draw(st.lists(st.lists(corner, min_size=2, max_size=2), max_size=4))
        told |= {"point_coords": points, "point_labels": draw(st.lists(st.integers(0, 1), max_size=4))}
    if draw(st.booleans()):
        told |= {"b64mask": picture("L"), "multimask_output": draw(st.booleans())}
    return told
