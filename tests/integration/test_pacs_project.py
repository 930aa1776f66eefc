"""A project whose scans come from a real Orthanc and whose masks go back to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from serving import serve

import medsam
from medsam.annotation.study.project import open_project
from medsam.cli.app import run
from medsam.io.dicom.web import fetch, parse_address, query, store

from .conftest import Orthanc
from .test_pacs import ct_series

pytestmark = pytest.mark.integration


def test_a_series_is_added_annotated_and_its_mask_stored_beside_it(orthanc: Orthanc, tmp_path: Path) -> None:
    study, series = ct_series(tmp_path / "ct")
    store(parse_address(orthanc.address), sorted((tmp_path / "ct").iterdir()))
    project, url = str(tmp_path / "study"), f"{orthanc.address}/studies/{study}/series/{series}"
    assert run(["project", "new", project]) == 0
    assert run(["project", "add", project, url]) == 0
    assert run(["project", "add", project, url]) == 1  # it is there already
    with open_project(project) as opened:
        [case] = opened.cases()
        assert case.shape == (6, 64, 64) and len(list((tmp_path / "study" / "uploads").iterdir())) == 1
    with serve(tmp_path, pacs=orthanc.address) as served:
        added = served.client.post("/api/v1/pacs/cases", json={"study": study, "series": series})
        assert added.status_code == 201, added.text
        path = f"/api/v1/cases/{added.json()['id']}"
        body = {"slice": 3, "box": [14, 10, 54, 50], "save": True}
        assert served.client.post(f"{path}/prompts", json=body, headers={"If-Match": '"v0"'}).status_code == 200
        drawn = np.frombuffer(served.client.get(f"{path}/mask/stored/3").content, np.uint8).reshape(64, 64)
        assert drawn.any()
        for format, modality in (("dicom-seg", "SEG"), ("rtstruct", "RTSTRUCT")):
            answer = served.client.post(f"{path}/store", params={"format": format})
            assert answer.status_code == 200, answer.text
            [found] = query(parse_address(orthanc.address), modality=modality)
            assert found.study == study
            place = tmp_path / modality
            fetch(parse_address(f"{orthanc.address}/studies/{study}/series/{found.series}"), place)
            [file] = place.iterdir()
            header = pydicom.dcmread(file)
            assert (header.SOPInstanceUID, header.PatientID) == (answer.json()["instances"][0], "phantom-1")
            mask = medsam.read_mask(file, reference=tmp_path / "ct")
            assert np.array_equal(mask.labels[3] > 0, drawn > 0)
