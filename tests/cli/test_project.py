"""`medsam project` as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dicom_phantom import Phantom, write_series
from small_scan import scan

import medsam
from command import medsam as command
from command import refused
from medsam.annotation.study.project import open_project


def test_the_command_makes_adds_lists_and_exports(tmp_path: Path) -> None:
    folder = str(tmp_path / "p")
    one, two = scan(tmp_path / "a.nii.gz"), scan(tmp_path / "b.nii.gz", 80)
    series = tmp_path / "ct"
    write_series(
        series,
        Phantom(rows=8, columns=10, tags=(("WindowCenter", 50), ("WindowWidth", 400))),
        lambda _: np.zeros((8, 10)),
    )
    assert command("project new", folder).code == 0
    assert refused(command("project new", folder), "open it instead")
    assert "Open a scan, a folder of scans or a project" in command("project open --help").out
    ended = command("project add --modality MR", folder, one, two, tmp_path / "no.nii")
    assert ended.code == 1 and "no.nii does not exist" in ended.err and "case 2: 3 x 8 x 10" in ended.out
    assert command("project add", folder, series).code == 0
    with open_project(folder) as project:
        case = project.cases()[0]
        project.save(case.id, "ana", np.ones(case.shape, np.uint8), seen=0, kind="edit")
        assert [dict(c.options) for c in project.cases()] == [{"modality": "MR"}, {"modality": "MR"}, {}]
    rows = command("project list --json", folder).json
    told = [(row["number"], row["status"], row["saves"]) for row in rows]
    assert told == [(1, "new", {"ana": 1}), (2, "new", {}), (3, "new", {})]
    assert "3 x 8 x 10         new       ana 1" in command("project list", folder).out
    assert command("project export --case 1", folder, "-o", tmp_path / "out").code == 0
    assert medsam.read_mask(tmp_path / "out/case-1-ana.nii.gz").labels.all()
    assert refused(command("project export --case 2 --annotator bob", folder, "-o", tmp_path / "out"), "bob")


def test_the_command_reports_times_and_compares_annotators(tmp_path: Path) -> None:
    folder = str(tmp_path / "p")
    assert command("project new", folder).code == 0
    assert command("project add --modality MR", folder, scan(tmp_path / "a.nii.gz")).code == 0
    assert refused(command("project report", folder, "-o", tmp_path / "r"), "nobody has worked")
    with open_project(folder) as project:
        case = project.cases()[0]
        for who, rows in (("ana", 4), ("bob", 8)):
            labels = np.zeros(case.shape, np.uint8)
            labels[1, :rows, :5] = 1
            project.save(case.id, who, labels, seen=0, kind="edit")
            project.record(case.id, who, [("refining", 100.0, 0.0), ("refining", 130.0 + rows, 0.0)])
    told = command("project report --json", folder, "-o", tmp_path / "r").json
    assert [(row["annotator"], row["seconds"]["refining"]) for row in told] == [("ana", 34.0), ("bob", 38.0)]
    assert (tmp_path / "r/figures/times.png").stat().st_size > 5000
    assert "| ana | without | 1 | 0.00 |" in command("project report --overwrite", folder, "-o", tmp_path / "r").out
    [row] = command("project agreement --json", folder).json
    assert (row["case"], row["first"], row["second"], row["volume_difference"]) == (1, "ana", "bob", 2 / 3)
    text = command("project agreement --case 1 --output", tmp_path / "a.csv", folder).out
    assert "| 1 | 1 | ana | bob | 0.6667 |" in text and "66.7" in (tmp_path / "a.csv").read_text()
    assert "case 1: consensus, version 1" in command("project consensus", folder).out
    assert command("project export --annotator consensus", folder, "-o", tmp_path / "out").code == 0
    assert medsam.read_mask(tmp_path / "out/case-1-consensus.nii.gz").labels.sum() == 20
    assert refused(command("project consensus --annotator ana", folder), "two or more")
