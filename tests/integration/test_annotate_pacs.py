"""From a PACS and back: fetch a series, annotate it from two axis lines, store the SEG beside it, query it back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import medsam
from medsam.cli.app import run
from medsam.io.dicom.web import fetch, parse_address, query, store

from .conftest import Orthanc
from .test_pacs import KillingProxy, ct_series

pytestmark = pytest.mark.integration


@pytest.fixture
def series(orthanc: Orthanc, tmp_path: Path) -> str:
    """Address of a CT of a ball in the PACS; its markers lie in markers.csv."""
    study, uid = ct_series(tmp_path / "ct", slices=7, size=128)
    store(parse_address(orthanc.address), sorted((tmp_path / "ct").iterdir()))
    # long and short axis of the ball on slices 2, 3 and 5, in voxels
    rows = ["slice,label,x0,y0,x1,y1"]
    for k, radius in ((2, 11), (3, 13), (5, 11)):
        rows += [f"{k},1,{34 - radius},30,{34 + radius},30", f"{k},1,34,{30 - radius},34,{30 + radius}"]
    (tmp_path / "markers.csv").write_text("\n".join(rows))
    return f"studies/{study}/series/{uid}"


def annotate(address: str, series: str, folder: Path, *more: str) -> int:
    return run(
        [
            "annotate",
            f"{address}/{series}",
            "--markers",
            str(folder / "markers.csv"),
            "-o",
            str(folder / "tumor.dcm"),
            *more,
        ]
    )


def test_seg_is_stored_beside_the_series_and_reads_back_equal(orthanc: Orthanc, series: str, tmp_path: Path) -> None:
    assert annotate(orthanc.address, series, tmp_path, "--record", str(tmp_path / "run.json")) == 0
    [seg] = query(parse_address(orthanc.address), modality="SEG")
    assert seg.study == series.split("/")[1]
    fetch(parse_address(f"{orthanc.address}/studies/{seg.study}/series/{seg.series}"), tmp_path / "seg")
    ours = medsam.read_mask(tmp_path / "tumor.dcm", reference=tmp_path / "ct")
    back = medsam.read_mask(next((tmp_path / "seg").iterdir()), reference=tmp_path / "ct")
    np.testing.assert_array_equal(back.labels, ours.labels)
    assert back.labels.any(axis=(1, 2)).tolist() == [False, False, True, True, True, True, False]
    assert ":test@" not in (tmp_path / "run.json").read_text()


def test_pacs_killed_in_mid_store_keeps_the_mask_and_stores_it_once_later(
    orthanc: Orthanc, series: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with KillingProxy(orthanc, posts=1) as proxy:
        cut = orthanc.address.replace(str(orthanc.port), str(proxy.port))
        assert annotate(cut, series, tmp_path) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "test@" not in error
    assert medsam.read_mask(tmp_path / "tumor.dcm", reference=tmp_path / "ct").labels.any()
    orthanc.start()
    for _ in range(2):
        assert run(["pacs", "put", str(tmp_path / "tumor.dcm"), "--address", orthanc.address]) == 0
    assert len(query(parse_address(orthanc.address), modality="SEG")) == 1
    assert len(orthanc.instances()) == 8
