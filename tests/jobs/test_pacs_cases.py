"""Series of an archive as cases: fetched whole, kept without a password, and nothing left where that fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_pacs import HostilePacs, gives, serve, slices

from medsam.annotation.study.project import create_project
from medsam.errors import DataError, InputFileError, RemoteError
from medsam.io.dicom.pacs_address import parse_address
from medsam.jobs.options import IntensityOptions
from medsam.jobs.pacs_cases import add_series, find_archive
from medsam.jobs.project import read_case

WINDOW = IntensityOptions(window="soft-tissue")


def test_a_series_becomes_a_case_that_knows_its_archive_and_no_password(tmp_path: Path) -> None:
    with serve(HostilePacs(slices())) as pacs, create_project(tmp_path / "study") as project:
        case = add_series(project, parse_address(pacs.address), tmp_path / "study", intensity=WINDOW)
        assert case.shape == (3, 32, 24) and read_case(case).grid.shape == case.shape
        assert Path(case.source).parent == tmp_path / "study" / "uploads"
        assert find_archive(case).url == f"http://127.0.0.1:{pacs.port}/dicom-web" and find_archive(case).user is None
        assert find_archive(case, "dicomwebs://other/web").url == "https://other/web"
    kept = b"".join(file.read_bytes() for file in (tmp_path / "study").glob("project.sqlite*"))
    assert b"hunter2" not in kept and b"1.2.3.4" not in kept


def test_what_cannot_be_added_leaves_no_files(tmp_path: Path) -> None:
    def refuse(_: Path) -> None:
        raise InputFileError("a file", expected="another", fix="send it")

    with serve(HostilePacs(slices())) as pacs, create_project(tmp_path / "study") as project:
        address = parse_address(pacs.address)
        with pytest.raises(InputFileError, match="a file"):
            add_series(project, address, tmp_path / "study", intensity=WINDOW, check=refuse)
        add_series(project, address, tmp_path / "study", intensity=WINDOW)
        with pytest.raises(DataError, match="the voxels of case 1"):
            add_series(project, address, tmp_path / "study", intensity=WINDOW)
        pacs.search = gives([])
        with pytest.raises(RemoteError):
            add_series(project, address, tmp_path / "study", intensity=WINDOW)
        assert len(list((tmp_path / "study" / "uploads").iterdir())) == len(project.cases()) == 1


def test_a_case_from_elsewhere_has_no_archive(tmp_path: Path) -> None:
    with create_project(tmp_path / "study") as project:
        case = project.add_case("a.nii.gz", (1, 2, 2), "f" * 64, {})
    with pytest.raises(DataError, match="case 1 came from no PACS"):
        find_archive(case)
