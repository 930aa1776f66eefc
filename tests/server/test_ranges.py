"""Parts of an answer, by RFC 9110."""

from __future__ import annotations

import pytest
from serving import Served, bearer

from medsam.server.ranges import Wanted, answer_bytes

DATA, TAG = bytes(range(10)), {"ETag": '"a"'}


@pytest.mark.parametrize(
    ("part", "expected", "told"),
    [
        ("bytes=0-3", DATA[:4], "bytes 0-3/10"),
        ("bytes=6-", DATA[6:], "bytes 6-9/10"),
        ("bytes=-3", DATA[7:], "bytes 7-9/10"),
        ("bytes=-99", DATA, "bytes 0-9/10"),
        ("bytes=9-99", DATA[9:], "bytes 9-9/10"),
    ],
)
def test_a_range_gives_its_bytes_and_says_where_they_lie(part: str, expected: bytes, told: str) -> None:
    answer = answer_bytes(DATA, Wanted(part=part), TAG)
    assert (answer.status_code, answer.body, answer.headers["content-range"]) == (206, expected, told)


@pytest.mark.parametrize("part", [None, "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "pages=1-2", "bytes=a-b"])
def test_what_is_no_single_range_gets_everything(part: str | None) -> None:
    answer = answer_bytes(DATA, Wanted(part=part), TAG)
    assert (answer.status_code, answer.body, answer.headers["accept-ranges"]) == (200, DATA, "bytes")


@pytest.mark.parametrize("part", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(part: str) -> None:
    answer = answer_bytes(DATA, Wanted(part=part), TAG)
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")


def test_a_range_of_another_version_gets_everything() -> None:
    assert answer_bytes(DATA, Wanted(part="bytes=0-3", if_range='"b"'), TAG).status_code == 200
    assert answer_bytes(DATA, Wanted(part="bytes=0-3", if_range='"a"'), TAG).status_code == 206


def test_rows_of_a_slice_come_alone(served: Served) -> None:
    path = f"/api/v1/cases/{served.case}/slices/coronal/15"
    whole = served.client.get(path)
    row = served.client.get(path, headers=bearer() | {"Range": "bytes=96-191"})
    assert (row.status_code, row.content) == (206, whole.content[96:192])
    assert row.headers["etag"] == whole.headers["etag"] and row.headers["x-shape"] == "6,48"
    same = served.client.get(path, headers=bearer() | {"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
