"""The client against the application itself: its answers are those of the local API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import Phantom, write_series
from hostile_pacs import SERIES, STUDY, HostilePacs, slices
from hostile_pacs import serve as serve_pacs
from serving import OTHER, TOKEN, Served, block, scan_file, serve

import medsam
from medsam.annotation.markers import Marker
from medsam.client.connection import Connection, read_row
from medsam.errors import ConflictError, DataError, InputFileError, OutputError, PromptError

ADDRESS = "http://testserver/?token="
BOXES = {1: [(10, 8, 32, 22)], 3: [(11, 9, 31, 21), (2, 2, 8, 8)]}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[medsam.Client]:
    with medsam.Client(ADDRESS + TOKEN, http=served.client) as one:
        yield one


def local(served: Served) -> tuple[medsam.Predictor, medsam.Image]:
    image = medsam.read_image(served.project.cases()[0].source, modality="MR")
    return served.app.state.server.predictor, medsam.normalize(image)


def test_a_case_is_the_image_that_the_server_has(served: Served, client: medsam.Client) -> None:
    [case] = client.cases()
    image, expected = client.read_image(case), medsam.read_image(served.project.cases()[0].source, modality="MR")
    assert np.array_equal(image.values, expected.values) and image.values.dtype == expected.values.dtype
    assert image.grid.same_as(expected.grid) and image.modality is expected.modality
    assert np.array_equal(client.read_slice(case, 15, plane="coronal"), expected.values[:, 15])


def test_prompts_give_what_a_predictor_gives(served: Served, client: medsam.Client) -> None:
    [case], (predictor, image) = client.cases(), local(served)
    boxes, points = [(10, 8, 32, 22), (2, 2, 9, 9)], [[(20, 15), (3, 3)]]
    for more in ({"boxes": boxes}, {"boxes": boxes[0]}, {"points": points, "point_labels": [[1, 0]]},
                 {"points": points[0], "point_labels": [1, 0]}):  # fmt: skip
        masks, scores = client.decode(client.embed(case, 2), **more)
        own, known = predictor.decode(predictor.embed(image.slice_rgb(2)), **more)
        assert np.array_equal(masks, own) and np.allclose(scores, known)
    assert served.head()["version"] == 0
    with pytest.raises(PromptError):
        client.decode(client.embed(case, 2))
    with pytest.raises(DataError, match="slice 6") as caught:
        client.embed(case, 6)
    assert caught.value.expected == "0 to 5"


def test_volumes_and_markers_give_the_local_voxels_with_progress(served: Served, client: medsam.Client) -> None:
    [case], (predictor, image) = client.cases(), local(served)
    told: list[tuple[int, int | None]] = []
    mask = client.segment_volume(case, boxes=BOXES, interpolate=True, progress=lambda *one: told.append(one))
    own = medsam.segment_volume(predictor, image, boxes=BOXES, interpolate=True)
    assert np.array_equal(mask.labels, own.labels) and mask.grid.same_as(own.grid) and told[-1] == (3, 3)
    markers = [Marker(1, k, ((12.0, 15.0), (29.0, 15.0), (20.0, 10.0), (20.0, 19.0))) for k in (1, 4)]
    client.undo(case)
    made, expected = client.annotate(case, markers), medsam.annotate(predictor, image, markers)
    assert np.array_equal(made.mask.labels, expected.mask.labels)
    assert made.scores[1] == pytest.approx(expected.scores[1], abs=1e-4)
    for how in ({"interpolation": "linear"}, {"interpolation": "legacy", "margin_px": 2.0}, {"max_gap": 2}):
        own = medsam.annotate(predictor, image, markers, **how)
        assert np.array_equal(client.annotate(case, markers, **how).mask.labels, own.mask.labels)
    painted = np.zeros(case.shape, np.uint8)
    painted[2, 15, 12:30] = 5
    assert set(np.unique(client.annotate(case, painted).mask.labels)) == {0, 1, 5}


def test_saves_moves_names_measures_and_files(served: Served, client: medsam.Client, tmp_path: Path) -> None:
    [case] = client.cases()
    client.segment_volume(case, box3d=[(10, 8, 1, 32, 22, 4)])
    client.name_object(case, 1, "block", color=(255, 0, 0), code=("SCT", "10200004", "Liver"))
    client.save_slice(case, 0, (np.indices((40, 48))[0] < 2) * 1)
    mask = client.read_mask(case)
    assert mask.names == {1: "block"} and mask.colors == {1: (255, 0, 0)} and mask.codes[1][2] == "Liver"
    assert mask.labels[0].sum() == 2 * 48
    client.undo(case)
    assert client.read_mask(case).labels[0].sum() == 0
    client.redo(case)
    [one] = client.measure(case)
    assert (one.name, one.voxels) == ("block", int((mask.labels > 0).sum()))
    client.write_mask(case, tmp_path / "m.seg.nrrd")
    assert np.array_equal(medsam.read_mask(tmp_path / "m.seg.nrrd").labels, mask.labels)
    with pytest.raises(OutputError):
        client.write_mask(case, tmp_path / "m.dcm", format="dicom-seg")  # the scan is no DICOM series
    with pytest.raises(OutputError):
        client.write_mask(case, tmp_path / "m.what")
    assert client.set_status(case, "done") == replace(case, status="done")
    with medsam.Client("http://testserver", OTHER, http=served.client) as other, pytest.raises(DataError):
        other.write_mask(case, tmp_path / "other.nrrd")  # bob has drawn nothing


def test_scans_are_sent_as_files_and_as_folders(client: medsam.Client, tmp_path: Path) -> None:
    values = block() + 7
    case = client.upload(scan_file(tmp_path / "second.nii.gz", values), modality="MR")
    assert np.array_equal(client.read_image(case).values, values)
    write_series(tmp_path / "series", Phantom(rows=32, columns=24))
    series = client.upload(tmp_path / "series", window="soft-tissue")
    assert np.array_equal(client.read_image(series).values, medsam.read_image(tmp_path / "series").values)
    with pytest.raises(InputFileError):
        client.upload(tmp_path / "none.nii.gz")
    with pytest.raises(DataError, match="voxels of case 2"):
        client.upload(tmp_path / "second.nii.gz", modality="MR")


def test_a_series_comes_from_the_pacs_and_its_mask_goes_there(tmp_path: Path) -> None:
    with serve_pacs(HostilePacs(slices())) as pacs, serve(tmp_path, pacs=pacs.archive) as served:
        client = medsam.Client(ADDRESS + TOKEN, http=served.client)
        case = client.add_from_pacs(STUDY, SERIES, window="soft-tissue")
        client.segment_volume(case, boxes={1: [(2, 2, 20, 20)]})
        [uid] = client.store(case)
        assert uid.encode() in pacs.received[-1]


def test_another_save_in_between_is_a_conflict(served: Served, client: medsam.Client) -> None:
    [case] = client.cases()
    client.segment_volume(case, boxes=BOXES)
    late = Connection(ADDRESS + TOKEN, http=served.client)  # has not seen that save
    drawn = bytes(40 * 48)
    with pytest.raises(ConflictError):
        late.ask("PUT", f"/cases/{case.id}/mask/stored/0", content=drawn, seen=0)
    job = read_row(
        late.ask("POST", f"/cases/{case.id}/jobs", body={"prompts": [{"slice": 1, "box": [1, 1, 9, 9]}]}, seen=0)
    )
    with pytest.raises(ConflictError):
        late.follow(f"/cases/{case.id}/jobs/{job['id']}", None)
