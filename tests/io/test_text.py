"""Text from outside: with and without a mark, in bounds, and never more than one error of ours."""

from __future__ import annotations

import os

import pytest

from medsam.errors import InputFileError
from medsam.io.text import read_json, read_rows, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes('{"name": "Läsion"}'.encode(encoding))
    assert read_text(tmp_path / "a.json", "a file") == '{"name": "Läsion"}'
    assert read_json(tmp_path / "a.json", "a file") == {"name": "Läsion"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfea", "is not text"),
        (b"caf\xe9", "is not text"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 10_000, "is not JSON"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputFileError, match=words) as caught:
        read_json(tmp_path / "a.json", "a JSON file")
    assert "\n" not in str(caught.value)


def test_large_files_folders_and_pipes_are_refused_without_being_read(tmp_path):
    (tmp_path / "a.txt").write_text("0123456789")
    with pytest.raises(InputFileError, match=r"holds 10 bytes; expected a file of at most 9 bytes"):
        read_text(tmp_path / "a.txt", "a file", max_bytes=9)
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "pipe"), (".", "a folder"), ("none", "does not exist"), ("\0", "does not exist")):
        with pytest.raises(InputFileError, match=words):
            read_text(f"{tmp_path}/{name}", "a file")


def test_semicolons_between_cells_are_named(tmp_path):
    (tmp_path / "p.csv").write_text("label;slice;x0;y0;x1;y1\n1;0;2;2;9;9\n")
    with pytest.raises(InputFileError, match="line 1: its cells are separated by semicolons, not by commas"):
        read_rows(tmp_path / "p.csv", "a CSV file of prompts")
    (tmp_path / "p.csv").write_text("label, slice\n1, 0\n")
    assert read_rows(tmp_path / "p.csv", "a CSV file") == ({"label", "slice"}, [(2, {"label": "1", "slice": "0"})])
