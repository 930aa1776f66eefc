"""What `medsam serve` opens: a scan, a folder of scans, a project, and nothing else."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hostile_pacs import HostilePacs, gives, serve, slices

from medsam.annotation.study.project import create_project
from medsam.errors import DataError, MedsamError
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.serve import open_for_serving

MR = IntensityOptions(modality="MR")


def scan(path: Path, value: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.full((6, 5, 4), value, np.int16), np.eye(4)), path)
    return path


def test_the_scans_of_a_folder_become_a_project_beside_them_once(tmp_path: Path) -> None:
    scan(tmp_path / "scans/a.nii.gz", 1)
    scan(tmp_path / "scans/b.nii.gz", 2)
    (tmp_path / "scans/c.nii.gz").write_bytes(b"no scan")
    said: list[str] = []
    for _ in range(2):
        project, folder = open_for_serving(str(tmp_path / "scans"), FileOptions(), MR, said.append)
        with project:
            assert len(project.cases()) == 2
    assert folder == tmp_path / "scans/medsam-project"
    assert len(said) == 2 and "c.nii.gz" in said[0]  # the damaged one, each time


def test_a_project_is_opened_as_it_is_and_nothing_is_refused(tmp_path: Path) -> None:
    create_project(tmp_path / "p").close()
    project, folder = open_for_serving(str(tmp_path / "p"), FileOptions(), MR, print)
    with project:
        assert folder == tmp_path / "p"
    with pytest.raises(DataError, match="does not exist"):
        open_for_serving(str(tmp_path / "absent"), FileOptions(), MR, print)


def test_what_cannot_be_opened_leaves_no_project_and_no_loss(tmp_path: Path) -> None:
    (tmp_path / "empty.nii.gz").touch()
    with pytest.raises(MedsamError, match="is empty"):
        open_for_serving(str(tmp_path / "empty.nii.gz"), FileOptions(), MR, print)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.nii.gz"]
    (tmp_path / "empty.nii.gz.medsam-project").mkdir()
    (tmp_path / "empty.nii.gz.medsam-project" / "notes.txt").touch()
    with pytest.raises(MedsamError):
        open_for_serving(str(tmp_path / "empty.nii.gz"), FileOptions(), MR, print)
    assert (tmp_path / "empty.nii.gz.medsam-project" / "notes.txt").exists()  # somebody else's file stays


def test_a_series_of_an_archive_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    intensity = IntensityOptions(window="soft-tissue")
    with serve(HostilePacs(slices())) as pacs:
        for address in (pacs.archive, pacs.address.partition("/series")[0]):
            with pytest.raises(DataError, match="without a series"):
                open_for_serving(address, FileOptions(), intensity, print)
        assert not list(tmp_path.iterdir())
        for _ in range(2):
            project, folder = open_for_serving(pacs.address, FileOptions(), intensity, print)
            with project:
                assert folder == tmp_path / "medsam-project" and len(project.cases()) == 1
            pacs.search = gives([])  # the archive has it no more
        with pytest.raises(MedsamError):
            open_for_serving(f"{pacs.address}.9", FileOptions(), intensity, print)
    assert (tmp_path / "medsam-project" / "project.sqlite").is_file()  # with the case that was there
