"""MONAI Label's requests as its clients make them, and its unmodified client class on a real socket."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, write_series
from listening import listening
from monailabel_wheel import client_class
from serving import BLOCK, OTHER, SHAPE, TOKEN, Served, bearer, block, passing_files, scan_file, serve

import medsam
from medsam.errors import PromptError
from medsam.imaging.prompts import Prompt
from medsam.jobs.project import add_scan
from medsam.server.monailabel_messages import prompts_of


def test_a_reversed_box_is_sorted_and_points_go_to_their_slices() -> None:
    params = {"roi": [30, 12, 20, 8, 4, 1], "foreground": [[14, 12, 2]], "background": [[0, 0, 3]], "slice": 2}
    assert prompts_of(params, 2, SHAPE) == [Prompt(slice=2, box=(12, 8, 30, 20), points=((14, 12),), point_labels=(1,))]
    solid, two, three = prompts_of(params, 3, SHAPE)
    assert solid.box_3d == (12, 8, 1, 30, 20, 4) and (two.slice, three.slice, three.point_labels) == (2, 3, (0,))
    for bad in ({}, {"roi": [1]}, {"foreground": [["a", 1, 2]]}, {"foreground": 3}):
        with pytest.raises(PromptError):
            prompts_of(bad, 3, SHAPE)
    with pytest.raises(PromptError):
        prompts_of({"foreground": [[1, 1, 1]]}, 2, SHAPE)


def test_the_raw_requests_answer_as_documented(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        client = served.client
        about = client.get("/monailabel/info/").json()
        assert "config" not in about and isinstance(about["labels"], list)
        assert {m["type"] for m in about["models"].values()} == {"deepgrow", "scribbles"}
        assert client.get("/monailabel/train/").status_code == 404
        for name in ("../../etc/passwd", "0" * 32, ""):
            assert client.get("/monailabel/datastore/image", params={"image": name}).status_code == 404
            assert client.get(f"/monailabel/session/{name or 'x'}").status_code == 404
        sent = {"params": (None, '{"foreground": [[14, 12, 2]], "slice": 2}')}
        answer = client.post(f"/monailabel/infer/medsam_2d?image={served.case}&output=image", files=sent)
        (tmp_path / "m.nii.gz").write_bytes(answer.content)
        assert answer.status_code == 200 and medsam.read_mask(tmp_path / "m.nii.gz").labels[2].any()
        assert client.post(f"/monailabel/infer/other?image={served.case}", files=sent).status_code == 404
        assert client.post("/monailabel/auth/token", data={"password": "wrong"}).status_code == 401


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("hall")) as one:
        yield one


def infer(served: Served, model: str = "medsam_3d", query: str = "", drawn: Path | None = None, **params: object):
    sent: dict[str, object] = {"params": (None, json.dumps(params))}
    if drawn is not None:
        sent["label"] = (drawn.name, drawn.read_bytes())
    return served.client.post(f"/monailabel/infer/{model}?image={served.case}{query}", files=sent)


def test_ohif_gets_plain_labels_and_sends_them_as_they_lie_in_memory(hall: Served) -> None:
    ohif = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}
    answer = infer(hall, query="&output=image", roi=[10, 32, 8, 22, 1, 4], **ohif)
    header, _, body = answer.content.partition(b"\n\n")
    assert b"encoding: raw" in header and b"type: uint8" in header and b"sizes: 48 40 6" in header
    labels = np.frombuffer(body, np.uint8).reshape(SHAPE)
    assert np.array_equal(labels > 0, block() > 0)
    for data in (labels.tobytes(), (2 * labels.astype("<u2")).tobytes()):
        form = {"params": (None, '{"label_info": [{"name": "Liver", "idx": 2}]}'), "label": ("label.bin", data)}
        saved = hall.client.put(f"/monailabel/datastore/label?image={hall.case}", files=form)
        assert saved.status_code == 200, saved.text
    assert np.array_equal(hall.project.current(hall.case, "ana").labels, 2 * labels)
    told = hall.client.get(f"/monailabel/datastore/label/info?label={hall.case}").json()
    assert told == {"label_info": [{"name": "Liver", "idx": 2}]}
    assert hall.client.get(f"/monailabel/datastore/image/info?image={hall.case}").json()["status"] == "in work"
    assert passing_files(hall) == []


def test_points_alone_and_scribbles_give_the_whole_object(hall: Served, tmp_path: Path) -> None:
    def labels(answer) -> np.ndarray:
        assert answer.status_code == 200, answer.text
        (tmp_path / "m.nii.gz").write_bytes(answer.content)
        return medsam.read_mask(tmp_path / "m.nii.gz").labels

    assert np.array_equal(labels(infer(hall, query="&output=image", foreground=[[14, 12, 2]])) > 0, block() > 0)
    drawn = np.zeros(SHAPE, np.int16)
    drawn[2, 12, 14:25], drawn[2, 2, 2:9] = 3, 2
    path = scan_file(tmp_path / "drawn.nii.gz", drawn)
    assert np.array_equal(labels(infer(hall, "medsam_scribbles", "&output=image", path)) > 0, block() > 0)
    assert infer(hall, "medsam_scribbles").status_code == 400
    assert infer(hall, "medsam_scribbles", drawn=scan_file(tmp_path / "e.nii.gz", 0 * drawn)).status_code == 422
    assert infer(hall, query="&output=json", foreground=[[14, 12, 2]], label="x").json()["label_names"] == {"x": 1}


def test_a_series_is_named_by_its_uid_and_answered_as_dicom_seg(tmp_path: Path) -> None:
    phantom = Phantom(modality="MR")
    bright = np.zeros((phantom.rows, phantom.columns), np.uint16)
    bright[2:-2, 2:-2] = 900
    paths = write_series(tmp_path / "series", phantom, lambda k: bright)
    uid = str(pydicom.dcmread(paths[0]).SeriesInstanceUID)
    with serve(tmp_path) as served:
        add_scan(served.project, tmp_path / "series")
        box = [1, phantom.columns - 2, 1, phantom.rows - 2, 0, 1]
        form = {"params": (None, json.dumps({"roi": box, "label": "liver"}))}
        answer = served.client.post(f"/monailabel/infer/medsam_3d?image={uid}&output=dicom_seg", files=form)
        assert answer.status_code == 200, answer.text
        seg = pydicom.dcmread(io.BytesIO(answer.content))
        assert answer.headers["content-type"] == "application/dicom" and seg.Modality == "SEG"
        assert seg.SegmentSequence[0].SegmentLabel == "liver"
        refused = infer(served, query="&output=dicom_seg", roi=[10, 32, 8, 22, 1, 4])
        assert refused.status_code == 422 and "DICOM" in refused.json()["detail"]  # a NIfTI has no series


@pytest.mark.parametrize("text", [
    "{", "[]", "null", '"x"', "[" * 90_000, '{"roi": [NaN, 1, 2, 3, 4, 5]}', '{"roi": [1e999, 1, 2, 3, 4, 5]}', '{"roi": "123456"}',
    '{"roi": [1, 2, 3]}', '{"roi": {"a": 1}}', '{"foreground": [[NaN, 1, 1]]}', '{"foreground": [[1, 1, 1e999]]}',
    '{"foreground": [[1, 1]]}', '{"foreground": [[1, 1, 99]]}', '{"foreground": [[1, 1, -1]]}', '{"foreground": [[-9, 1, 1]]}',
    '{"foreground": 7}', '{"foreground": [7]}', '{"foreground": [[1, 1, ' + "9" * 400 + "]]}", '{"roi": [90, 95, 90, 95, 9, 12]}',

])  # fmt: skip
@pytest.mark.parametrize("model", ["medsam_2d", "medsam_3d"])
def test_malformed_params_are_answered_in_words(hall: Served, model: str, text: str) -> None:
    answer = hall.client.post(f"/monailabel/infer/{model}?image={hall.case}", files={"params": (None, text)})
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--",
        b"--x",
        b"--x\r\n",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n",
        b"\x00" * 300,
        b"--x\r\n\r\n" * 5000,
    ],
)
@pytest.mark.parametrize("path", ["PUT session/", "PUT datastore/image?image=a", "POST infer/medsam_3d?image={}", "PUT datastore/label?image={}"])  # fmt: skip
def test_bodies_that_are_no_form_are_answered_in_words(hall: Served, path: str, body: bytes) -> None:
    method, _, path = path.partition(" ")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = hall.client.request(method, f"/monailabel/{path.format(hall.case)}", content=body, headers=headers)
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]


@pytest.mark.parametrize(("name", "data"), [
    ("label.bin", b"123"), ("../../label.bin", b""), ("x.nii.gz", b"\x1f\x8b" + b"0" * 99), ("x.exe", b"MZ"), ("x.nrrd", b"NRRD0004\n\n"),
])  # fmt: skip
def test_labels_that_are_none_are_refused_and_leave_no_file(hall: Served, name: str, data: bytes) -> None:
    answer = hall.client.put(f"/monailabel/datastore/label?image={hall.case}", files={"label": (name, data)})
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]
    assert passing_files(hall) == []


def test_sessions_of_others_do_not_exist_and_end_with_the_server(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        sent = {"files": ("a.nii.gz", (tmp_path / "scan.nii.gz").read_bytes())}
        session = served.client.put("/monailabel/session/", files=sent).json()["session_id"]
        for method in ("get", "delete"):
            assert (
                getattr(served.client, method)(f"/monailabel/session/{session}", headers=bearer(OTHER)).status_code
                == 404
            )
        form = {"params": (None, '{"foreground": [[14, 12, 2]]}')}
        path = f"/monailabel/infer/medsam_3d?image=&session_id={session}"
        assert served.client.post(path, files=form, headers=bearer(OTHER)).status_code == 404
        assert served.client.post(path, files=form).status_code == 200
        [kept] = passing_files(served)
    assert not kept.parent.exists()


@pytest.mark.integration
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the client imports cgi")
def test_the_unmodified_client_does_a_whole_annotation(tmp_path: Path) -> None:
    kind = client_class(tmp_path)
    with serve(tmp_path) as served:
        (tmp_path / "tmp").mkdir()
        with listening(served.app) as port:
            client = kind(f"http://127.0.0.1:{port}/monailabel", str(tmp_path / "tmp"), "slicer")
            annotate_with(client, tmp_path, served)


def annotate_with(client, tmp_path: Path, served) -> None:
    assert client.auth_enabled()
    client.update_auth(client.auth_token("ana", TOKEN))
    assert client.auth_valid_token() and "medsam_3d" in client.info()["models"]
    assert client.next_sample("first", {})["id"] == served.case
    assert not client.train_status(check_if_running=True)
    roi = {"roi": [32, 10, 22, 8, 4, 1], "label": "lesion", "result_extension": ".nrrd"}
    file, params = client.infer("medsam_3d", served.case, dict(roi))
    answer = medsam.read_mask(file, reference=tmp_path / "scan.nii.gz").labels
    image = served.app.state.server.scans.open(served.project.cases()[0]).image
    own = medsam.segment_volume(served.app.state.server.predictor, image, box3d=[(10, 8, 1, 32, 22, 4)]).labels
    assert np.array_equal(answer, own) and answer[BLOCK].all() and params["label_names"] == {"lesion": 1}
    assert client.save_label(served.case, file, "final", {})["image"] == served.case
    assert np.array_equal(served.project.current(served.case, "ana").labels, own)
    saved = client.download_label(served.case, "ana")
    assert np.array_equal(medsam.read_mask(saved).labels, own)
    assert client.datastore()["objects"][served.case]["labels"].keys() == {"ana"}
    other = block()
    other[0, 0, 0] = 7
    path = scan_file(tmp_path / "up.nii.gz", other)
    session = client.create_session(str(path))[
        "session_id"
    ]  # after other calls: the client repeats an older Content-Type
    assert client.get_session(session)["session_id"] == session
    file, _ = client.infer("medsam_3d", "", dict(roi), session_id=session)
    assert medsam.read_mask(file).labels[BLOCK].all()
    client.remove_session(session)
    client.upload_image(str(path), "DOE^JOHN")
    assert client.infer("medsam_3d", "DOE^JOHN", dict(roi))[0]
    assert "DOE" not in str(served.project.cases()[1])
