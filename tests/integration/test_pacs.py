"""A real Orthanc: fetch, store, query back, and a server that dies in the middle of a store."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medsam.cli.app import run
from medsam.errors import InputFileError, OutputError, RemoteError
from medsam.io.dicom.web import fetch, parse_address, query, store

from .conftest import Orthanc, free_port

pytestmark = pytest.mark.integration


def ct_series(folder: Path, slices: int = 6, size: int = 64) -> tuple[str, str]:
    """A small axial CT of a bright ball in soft tissue; gives study and series UID."""
    folder.mkdir(parents=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    zz, yy, xx = np.mgrid[:slices, :size, :size]
    ball = ((zz - slices / 2) * 5) ** 2 + (yy - 30) ** 2 + (xx - 34) ** 2 < 14**2
    values = np.where(ball, 130, 20).astype(np.int16) + 1024
    for k in range(slices):
        ds = pydicom.Dataset()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Phantom^Ball", "phantom-1", "", "O"
        ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = (
            "20260102",
            "101112",
            "",
            "",
            "1",
        )
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = "CT", 1, k + 1, "phantom"
        ds.ImageType, ds.SeriesDescription = ["ORIGINAL", "PRIMARY", "AXIAL"], "ball"
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-30.0, -40.0, 100.0 + 5 * k], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness, ds.PositionReferenceIndicator = [1.0, 1.0], 5.0, ""
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = size, size, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.RescaleSlope, ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = 1, -1024, 40, 400
        ds.PixelData = values[k].astype(np.uint16).tobytes()
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    return study, series


def test_series_stored_is_queried_and_fetched_back_equal(orthanc: Orthanc, tmp_path: Path) -> None:
    study, series = ct_series(tmp_path / "ct")
    report = store(parse_address(orthanc.address), sorted((tmp_path / "ct").iterdir()))
    assert len(report.stored) == 6
    [found] = query(parse_address(orthanc.address), modality="CT")
    assert (found.study, found.series, found.instances, found.description) == (study, series, 6, "ball")
    assert fetch(parse_address(f"{orthanc.address}/studies/{study}/series/{series}"), tmp_path / "back") == 6
    sent = {ds.SOPInstanceUID: ds.PixelData for ds in map(pydicom.dcmread, (tmp_path / "ct").iterdir())}
    came = {ds.SOPInstanceUID: ds.PixelData for ds in map(pydicom.dcmread, (tmp_path / "back").iterdir())}
    assert sent == came


def test_storing_again_stores_nothing_twice(orthanc: Orthanc, tmp_path: Path) -> None:
    ct_series(tmp_path / "ct")
    files = sorted((tmp_path / "ct").iterdir())
    store(parse_address(orthanc.address), files[:2])
    report = store(parse_address(orthanc.address), files)
    assert (len(report.stored), len(report.present)) == (4, 2)
    assert len(orthanc.instances()) == 6


def test_wrong_password_is_refused_without_showing_it(orthanc: Orthanc) -> None:
    with pytest.raises(RemoteError, match="refuses access") as caught:
        query(parse_address(orthanc.address.replace(":test@", ":hunter2@")))
    assert "hunter2" not in str(caught.value)


def test_series_that_is_not_there_leaves_no_folder(orthanc: Orthanc, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="has no series"):
        fetch(parse_address(f"{orthanc.address}/studies/1.2/series/1.2.3"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_pacs_that_is_away_is_named(tmp_path: Path) -> None:
    address = parse_address(f"dicomweb://127.0.0.1:{free_port()}/dicom-web")
    with pytest.raises(RemoteError, match="does not answer"):
        query(address)


def test_web_server_that_is_no_pacs_is_named(orthanc: Orthanc) -> None:
    with pytest.raises(RemoteError):
        query(parse_address(orthanc.address.replace("/dicom-web", "/nothing")))


def test_store_cut_in_the_middle_is_repeated_without_doubles(orthanc: Orthanc, tmp_path: Path) -> None:
    """A proxy lets two objects through, then the server is killed in the middle of the third."""
    ct_series(tmp_path / "ct", slices=6, size=256)
    files = sorted((tmp_path / "ct").iterdir())
    with KillingProxy(orthanc, posts=3) as proxy:
        cut = parse_address(orthanc.address.replace(str(orthanc.port), str(proxy.port)))
        with pytest.raises(RemoteError, match="2 of 6 objects are there"):
            store(cut, files)
    orthanc.start()
    before = len(orthanc.instances())
    assert before in (2, 3)
    report = store(parse_address(orthanc.address), files)
    assert (len(report.present), len(report.stored)) == (before, 6 - before)
    assert len(orthanc.instances()) == 6


def test_fetch_cut_in_the_middle_leaves_nothing(orthanc: Orthanc, tmp_path: Path) -> None:
    study, series = ct_series(tmp_path / "ct", slices=6, size=256)
    store(parse_address(orthanc.address), sorted((tmp_path / "ct").iterdir()))
    with KillingProxy(orthanc, posts=99, reply_limit=200_000) as proxy:
        cut = orthanc.address.replace(str(orthanc.port), str(proxy.port))
        with pytest.raises(RemoteError):
            fetch(parse_address(f"{cut}/studies/{study}/series/{series}"), tmp_path / "half")
    assert [p.name for p in tmp_path.iterdir()] == [p.name for p in tmp_path.iterdir() if "half" not in p.name]


def test_command_queries_gets_and_puts(orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, series = ct_series(tmp_path / "ct")
    assert run(["pacs", "put", str(tmp_path / "ct"), "--address", orthanc.address]) == 0
    assert run(["pacs", "query", orthanc.address]) == 0
    assert f"studies/{study}/series/{series}" in capsys.readouterr().out
    url = f"{orthanc.address}/studies/{study}/series/{series}"
    assert run(["pacs", "get", url, "-o", str(tmp_path / "got")]) == 0
    assert len(list((tmp_path / "got").iterdir())) == 6
    assert run(["pacs", "get", url, "-o", str(tmp_path / "got")]) == 1
    assert "exists already" in capsys.readouterr().err


def test_not_a_dicom_file_is_refused_before_anything_is_sent(orthanc: Orthanc, tmp_path: Path) -> None:
    ct_series(tmp_path / "ct")
    bad = tmp_path / "note.dcm"
    bad.write_text("no DICOM")
    with pytest.raises(InputFileError, match="no whole DICOM object"):
        store(parse_address(orthanc.address), [*sorted((tmp_path / "ct").iterdir()), bad])
    assert orthanc.instances() == []


def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        fetch(parse_address("dicomweb://127.0.0.1:1/dicom-web/studies/1/series/2"), tmp_path)


class KillingProxy:
    """Forwards TCP to Orthanc; kills the server during POST number `posts`, or cuts replies after `reply_limit` bytes."""

    def __init__(self, orthanc: Orthanc, posts: int, reply_limit: int | None = None) -> None:
        self.orthanc, self.posts, self.reply_limit = orthanc, posts, reply_limit
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = 0

    def __enter__(self) -> KillingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.orthanc.port))
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self._reply, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(16384):
                if data.startswith(b"POST "):
                    self.seen += 1
                if self.seen >= self.posts:
                    server.sendall(data[: len(data) // 2])
                    self.orthanc.kill()
                    break
                server.sendall(data)
        except OSError:
            pass
        hang_up(client, server)

    def _reply(self, server: socket.socket, client: socket.socket) -> None:
        sent = 0
        try:
            while data := server.recv(16384):
                sent += len(data)
                if self.reply_limit is not None and sent > self.reply_limit:
                    break
                client.sendall(data)
        except OSError:
            pass
        hang_up(client, server)


def hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
