"""Text, JSON and CSV that come from outside: read whole, with or without a byte order mark, within a bound."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path

from medsam.errors import InputFileError
from medsam.io.limits import require_file, say_size

MAX_BYTES = 256 << 20  # the outlines of a whole slide are 100 MB


def read_text(path: str | Path, expected: str, *, max_bytes: int = MAX_BYTES) -> str:
    """Read a text file in UTF-8 or, where its mark says so, UTF-16; the mark itself is no part of the text.

    Args:
        path: The file.
        expected: What it should be, with its article, for the messages.
        max_bytes: The most that it may hold.

    Raises:
        InputFileError: missing, no regular file, too large, or no text.
    """
    source = require_file(path, expected)
    size = source.stat().st_size
    if size > max_bytes:
        raise InputFileError(
            f"{source} holds {say_size(size)}", expected=f"{expected} of at most {say_size(max_bytes)}", fix="split it"
        )
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputFileError(
            f"{source} cannot be read ({error.strerror})", expected=expected, fix="check its permissions"
        ) from None
    try:
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputFileError(f"{source} is not text", expected=expected, fix="save it as UTF-8") from None


def read_json(path: str | Path, expected: str, *, max_bytes: int = MAX_BYTES) -> object:
    """Read a JSON file.

    Args:
        path: The file.
        expected: What it should be, with its article or as an example, for the messages.
        max_bytes: The most that it may hold.

    Raises:
        InputFileError: as read_text, not JSON, nested too deeply, or a number of thousands of digits.
    """
    text = read_text(path, expected, max_bytes=max_bytes)
    try:
        return json.loads(text)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = re.sub(r"[;\n].*", "", str(error))[:120]  # Python's advice on its own limits is no help here
    raise InputFileError(f"{path} is not JSON ({reason})", expected=expected, fix="correct the file")


def format_rows(rows: Iterable[Iterable[object]]) -> str:
    """Give rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read_rows(path: str | Path, expected: str) -> tuple[set[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file with a header.

    Args:
        path: The file.
        expected: What it should be, with its article, for the messages.

    Returns:
        The names of the columns; for each row that is not empty, its line and its cells by column, stripped, without the
        empty ones.

    Raises:
        InputFileError: as read_text, or a row with more cells than the header.
    """
    reader = csv.DictReader(read_text(path, expected).splitlines(), skipinitialspace=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        columns = {name.strip() for name in reader.fieldnames or ()}
        if len(columns) == 1 and ";" in min(columns):
            raise csv.Error("its cells are separated by semicolons, not by commas")
        for row in reader:
            if None in row:
                raise csv.Error("more cells than columns")
            cells = {name.strip(): cell.strip() for name, cell in row.items() if cell and cell.strip()}
            if cells:
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise InputFileError(
            f"{path}, line {reader.line_num}: {error}", expected=expected, fix="correct the line"
        ) from None
    return columns, rows
