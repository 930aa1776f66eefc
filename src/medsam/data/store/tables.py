"""The catalogue of a store: one row per image-mask pair, one per thing left out (columns: docs/curation.md)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medsam.data.cards.card import Card
from medsam.data.cases.paths import CaseFiles
from medsam.errors import DataError
from medsam.files.atomic import replacing
from medsam.io.guard import guarded

_NAME = pa.dictionary(pa.int32(), pa.string())

PAIRS = pa.schema([
    ("sample_id", pa.string()),
    ("dataset", _NAME),
    ("version", _NAME),
    ("file", _NAME),
    ("case", _NAME),
    ("group", _NAME),
    ("modality", _NAME),
    ("target", _NAME),
    ("label", pa.int32()),
    ("object", pa.int32()),
    ("window", _NAME),
    ("slice", pa.int32()),
    ("slices", pa.int32()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("channels", pa.int8()),
    ("spacing_z_mm", pa.float32()),
    ("spacing_y_mm", pa.float32()),
    ("spacing_x_mm", pa.float32()),
    ("area_px", pa.int32()),
    ("x0", pa.int32()),
    ("y0", pa.int32()),
    ("x1", pa.int32()),
    ("y1", pa.int32()),
    ("licence", _NAME),
    ("image_sha256", _NAME),
    ("mask_sha256", pa.string()),
    ("perceptual_hash", pa.binary(32)),
    ("suspect_text", pa.bool_()),
    ("shard", _NAME),
    ("image_array", _NAME),
    ("image_index", pa.int32()),
    ("mask_array", _NAME),
    ("mask_index", pa.int32()),
    ("mask_value", pa.int32()),
])  # fmt: skip

EXCLUDED = pa.schema([
    ("dataset", _NAME),
    ("file", _NAME),
    ("case", _NAME),
    ("reason", _NAME),
    ("detail", pa.string()),
    ("target", _NAME),
    ("pairs", pa.int32()),
    ("fault", pa.bool_()),
])  # fmt: skip

CATALOGUE = PAIRS.append(pa.field("split", _NAME))

DUPLICATES = pa.schema([
    ("dataset_a", pa.string()), ("file_a", pa.string()), ("slice_a", pa.int32()), ("split_a", pa.string()),
    ("dataset_b", pa.string()), ("file_b", pa.string()), ("slice_b", pa.int32()), ("split_b", pa.string()),
    ("distance", pa.int32()),
])  # fmt: skip


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet whole or not at all; the same rows always make the same bytes, and the same bytes are not written."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=1 << 16)
    write_changed(path, sink.getvalue().to_pybytes())


def write_changed(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that holds this already is left alone, with its time."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_table(path: Path, columns: list[str] | None = None, schema: pa.Schema | None = None) -> pa.Table:
    """Read Parquet.

    Args:
        path: The file.
        columns: Only these.
        schema: Give exactly these columns, in these types.

    Raises:
        DataError: missing.
        InputFileError: damaged, or without the columns that are asked for.
    """
    if not path.is_file():
        raise DataError(
            f"{path} does not exist",
            expected="a store made by `medsam curate`",
            fix="check the path, or run medsam curate again",
        )
    with guarded(path, "a whole Parquet file of a store"):
        table = pq.read_table(path, columns=columns, partitioning=None)
        return table if schema is None else table.select(schema.names).cast(schema)


def hash_name(*parts: str, length: int = 24) -> str:
    """A name that says nothing: hex digits of a sha256."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def choose_names(card: Card, case: CaseFiles) -> tuple[str, str, str]:
    """(file, case, group) as they may stand in a store: as published, or opaque where a card is not `published`.

    Paths of files from a clinic often carry names, ids and dates.
    """
    group = f"{card.group_space}/{case.group}"
    if card.published:
        return case.image, case.name, group
    return (
        hash_name(card.name, "file", case.image),
        hash_name(card.name, "case", case.name),
        f"{card.group_space}/{hash_name('group', group)}",
    )
