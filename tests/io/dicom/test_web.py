"""An archive that must not be believed: every hostile answer ends in one of our errors, soon, small, and leaves nothing."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_pacs import (
    GOOD,
    HEAD,
    LIMITS,
    MULTIPART,
    SERIES,
    STUDY,
    Answer,
    HostilePacs,
    bomb,
    drip,
    flood,
    gives,
    multipart,
    raw,
    says,
    send_parts,
    series_row,
    slices,
    value,
)

from medsam.errors import InputFileError, MedsamError, OutputError, RemoteError
from medsam.io.dicom.web import fetch, parse_address, query, store

MOST_BYTES = 64 << 20  # of memory while an answer is read


SEARCHES: dict[str, Answer] = {
    "nothing at all": raw(b""),
    "no HTTP": raw(b"\x00\xff garbage\r\n\r\n"),
    "an empty body": says(b""),
    "HTML": says(b"<html>sign in</html>", "text/html"),
    "null": gives(None),
    "an object": gives({"a": 1}),
    "a number": gives(7),
    "null rows": gives([None, None]),
    "rows of lists": gives([[], []]),
    "an empty row": gives([{}]),
    "an attribute that is a text": gives([{**series_row(3), "00080060": "CT"}]),
    "values that are a text": gives([{**series_row(3), "00080060": {"vr": "CS", "Value": "CT"}}]),
    "values that are null": gives([{**series_row(3), "00080060": {"vr": "CS", "Value": None}}]),
    "a value that is an object": gives([{**series_row(3), "0020000E": value("UI", {"a": {}})}]),
    "a UID that is a path": gives([{**series_row(3), "0020000E": value("UI", "../../etc")}]),
    "a UID that is a number of 300 digits": gives([{**series_row(3), "0020000E": value("UI", "1" * 300)}]),
    "deep JSON": says(b"[" * 200_000),
    "deep JSON that is closed": says(b'[{"a":' * 50_000 + b"1" + b"}]" * 50_000),
    "a number of a million digits": says(b"[" + b"9" * 900_000 + b"]"),
    "no UTF-8": says(b'[{"a": "\xff\xfe"}]'),
    "half a list": says(b'[{"0020000D": '),
    "less than its length says": says(b"[]", Content_Length="4000"),
    "an endless list": flood("application/dicom+json", b"[],", b"["),
    "a gzip bomb": bomb("application/dicom+json", "gzip"),
    "a deflate bomb": bomb("application/dicom+json", "deflate"),
    "a damaged gzip": says(gzip.compress(b"[]")[:12] + b"\x00\x01\x02", Content_Encoding="gzip"),
    "an unknown coding": says(b"[]", Content_Encoding="br, gzip, gzip"),
    "a negative chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n"),
    "a chunk of no number": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "endless headers": raw(HEAD + b"X-A: b\r\n" * 5000 + b"\r\n"),
    "a byte now and then": drip(HEAD + b"\r\n", b"["),
    "a header line that never ends": drip(HEAD + b"X: ", b"a"),
    "1xx for ever": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silence": drip(b"", b""),
    "500 with a patient's name": says(b"Canary^Patient", "text/plain", 500),
    "401": says(b"", status=401),
    "a redirect to itself": says(b"", status=302, Location="/dicom-web/studies"),
    "a redirect to a file": says(b"", status=302, Location="file:///etc/passwd"),
}
FETCHES: dict[str, Answer] = {
    "nothing at all": raw(b""),
    "an empty body": says(b"", MULTIPART),
    "no content": says(b"", MULTIPART, 204),
    "no multipart": says(b"[]"),
    "no boundary": says(multipart(GOOD), "multipart/related"),
    "another boundary": says(multipart(GOOD, "abc"), MULTIPART),
    "no part": says(b"--xyz--\r\n", MULTIPART),
    "no last boundary": lambda handler: send_parts(handler, GOOD, closed=False),
    "cut in the middle": says(multipart(GOOD)[:-700], MULTIPART),
    "one object less": lambda handler: send_parts(handler, GOOD[:2]),
    "one object more": lambda handler: send_parts(handler, [*GOOD, slices(4)[3]]),
    "one object twice": lambda handler: send_parts(handler, [GOOD[0], GOOD[1], GOOD[1]]),
    "empty parts": lambda handler: send_parts(handler, [b""] * 3),
    "a text as an object": lambda handler: send_parts(handler, [*GOOD[:2], b"no DICOM"]),
    "an object cut in its pixels": lambda handler: send_parts(handler, [*GOOD[:2], GOOD[2][:-100]]),
    "an object cut before its pixels": lambda handler: send_parts(handler, [*GOOD[:2], GOOD[2][:600]]),
    "fewer pixels than declared": lambda handler: send_parts(handler, [*GOOD[:2], *slices(1, Rows=64)]),
    "another series": lambda handler: send_parts(handler, [*GOOD[:2], *slices(1, SeriesInstanceUID="1.9")]),
    "another study": lambda handler: send_parts(handler, [*GOOD[:2], *slices(1, StudyInstanceUID="1.9")]),
    "a length that is wrong": says(
        multipart(GOOD).replace(b"application/dicom\r\n", b"application/dicom\r\nContent-Length: 9\r\n"), MULTIPART
    ),
    "a name that is a path": says(
        multipart(GOOD[:2]).replace(b"dicom\r\n", b'dicom\r\nContent-Location: ../../../evil.dcm\r\n'), MULTIPART
    ),
    "an endless header of a part": flood(MULTIPART, b"X: " + b"y" * 100, b"--xyz\r\n"),
    "an endless preamble": flood(MULTIPART, b"z"),
    "an endless object": flood(MULTIPART, b"\0", b"--xyz\r\n\r\n" + bytes(128) + b"DICM"),
    "a million parts": flood(MULTIPART, b"--xyz\r\nContent-Type: application/dicom\r\n\r\n\r\n"),
    "a gzip bomb": bomb(MULTIPART, "gzip", b"--xyz\r\n\r\n" + bytes(128) + b"DICM"),
    "a deflate bomb": bomb(MULTIPART, "deflate", b"--xyz\r\n\r\n" + bytes(128) + b"DICM"),
    "a byte now and then": drip(
        b"HTTP/1.1 200 OK\r\nContent-Type: " + MULTIPART.encode() + b"\r\n\r\n--xyz\r\n\r\n", b"\0"
    ),
    "enough bytes to seem busy, for ever": drip(
        b"HTTP/1.1 200 OK\r\nContent-Type: " + MULTIPART.encode() + b"\r\n\r\n--xyz\r\n\r\n" + bytes(128) + b"DICM",
        bytes(4096),
    ),
}  # fmt: skip


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[None]:
    """Around a hostile answer: memory and time are bounded, and the folder is as it was."""
    tracemalloc.start()
    start = time.monotonic()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_BYTES
    assert time.monotonic() - start < LIMITS.seconds + 30  # an endless answer would take for ever
    assert list(tmp_path.iterdir()) == []


def refused(error: MedsamError) -> None:
    """The message is one line and repeats nothing of a patient, and no password."""
    assert isinstance(error, RemoteError)
    for secret in ("hunter2", "reader", "Canary", STUDY + "/", SERIES, "\n"):
        assert secret not in str(error)


@pytest.mark.parametrize("kind", SEARCHES)
def test_hostile_search_is_refused(kind: str, pacs: HostilePacs, tmp_path: Path, watched: None) -> None:
    pacs.search = SEARCHES[kind]
    with pytest.raises(MedsamError) as caught:
        query(parse_address(pacs.archive), limits=LIMITS)
    refused(caught.value)
    with pytest.raises(MedsamError) as caught:
        fetch(parse_address(pacs.address), tmp_path / "deep" / "er" / "ct", limits=replace(LIMITS, seconds=3))
    refused(caught.value)


@pytest.mark.parametrize("kind", FETCHES)
def test_hostile_series_is_refused(kind: str, pacs: HostilePacs, tmp_path: Path, watched: None) -> None:
    pacs.fetch = FETCHES[kind]
    with pytest.raises(MedsamError) as caught:
        fetch(parse_address(pacs.address), tmp_path / "deep" / "er" / "ct", limits=LIMITS)
    refused(caught.value)


def test_good_series_arrives_equal_under_names_of_our_own(pacs: HostilePacs, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    count = fetch(parse_address(pacs.address), tmp_path / "ct", lambda *now: seen.append(now), LIMITS)
    assert count == 3
    assert [file.name for file in sorted((tmp_path / "ct").iterdir())] == ["000001.dcm", "000002.dcm", "000003.dcm"]
    assert [file.read_bytes() for file in sorted((tmp_path / "ct").iterdir())] == GOOD
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_objects_that_are_listed_and_do_not_come_are_missed(pacs: HostilePacs, tmp_path: Path) -> None:
    pacs.search = gives([series_row(None)])
    pacs.instances = gives([{"00080018": value("UI", f"1.2.{n}")} for n in range(4)])
    with pytest.raises(RemoteError, match="3 of 4 instances came"):
        fetch(parse_address(pacs.address), tmp_path / "ct", limits=LIMITS)
    pacs.instances = gives([])
    assert fetch(parse_address(pacs.address), tmp_path / "ct", limits=LIMITS) == 3


def test_more_objects_than_the_limit_are_refused(pacs: HostilePacs, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="more than 2 objects"):
        fetch(parse_address(pacs.address), tmp_path / "ct", limits=replace(LIMITS, instances=2))


def test_texts_of_the_archive_cannot_steer_a_terminal(pacs: HostilePacs) -> None:
    pacs.search = gives([{**series_row(3), "0008103E": value("LO", "\x1b[2Jliver\n" + "x" * 5000)}])
    [found] = query(parse_address(pacs.archive), limits=LIMITS)
    assert found.description.startswith("[2Jliver x")
    assert len(found.description) <= 200


def test_rows_beyond_the_limit_are_not_given(pacs: HostilePacs) -> None:
    pacs.search = gives([series_row(3, f"1.2.{n}") for n in range(20)])
    assert len(query(parse_address(pacs.archive), limit=5, limits=LIMITS)) == 5


def test_stored_file_arrives_as_it_is(pacs: HostilePacs, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(GOOD[0])
    report = store(parse_address(pacs.archive), [tmp_path / "a.dcm"], LIMITS)
    assert len(report.stored) == 1
    assert GOOD[0] in pacs.received[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (gives({"00081198": value("SQ", {"00081197": value("US", 272)})}), "failure reason 0x0110"),
        (says(b'{"00081198": {"vr": "SQ", "Value": [{}]}}', status=409), "failure reason none given"),
        (gives({"00081198": value("SQ", "no")}), "its list of failures is none"),
        (gives([]), "it is no object"),
        (says(b"stored", "text/plain"), "it is no JSON"),
        (flood("application/dicom+json", b"[],", b"["), "more than"),
        (drip(HEAD + b"\r\n", b"["), "next to nothing"),
        (raw(b""), "broke off"),
    ],
)  # fmt: skip
def test_hostile_answer_to_a_store_is_refused(answer: Answer, words: str, pacs: HostilePacs, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(GOOD[0])
    pacs.store = answer
    with pytest.raises(RemoteError, match=words) as caught:
        store(parse_address(pacs.archive), [tmp_path / "a.dcm"], LIMITS)
    refused(caught.value)


def test_what_is_no_dicom_is_not_sent(pacs: HostilePacs, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(GOOD[0])
    (tmp_path / "b.dcm").write_text("no DICOM")
    with pytest.raises(InputFileError, match="no whole DICOM object"):
        store(parse_address(pacs.archive), [tmp_path / "a.dcm", tmp_path / "b.dcm"], LIMITS)
    assert pacs.received == []


def test_folder_that_exists_is_left_alone(pacs: HostilePacs, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        fetch(parse_address(pacs.address), tmp_path, limits=LIMITS)
