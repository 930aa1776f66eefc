"""The catalogue of a store: one row per image-mask pair, one per thing left out (columns: docs/curation.md)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medsam.data.cards import Card
from medsam.data.layout import Case
from medsam.errors import DataError
from medsam.io.atomic import replacing

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


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read Parquet.

    Raises:
        DataError: missing or damaged.
    """
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist",
            expected="a store made by `medsam curate`",
            fix="check the path, or run medsam curate again",
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]:.80})",
            expected="a Parquet file",
            fix="run medsam curate again; it makes the file anew",
        ) from None


def opaque(*parts: str, length: int = 24) -> str:
    """A name that says nothing: hex digits of a sha256."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def public_names(card: Card, case: Case) -> tuple[str, str, str]:
    """(file, case, group) as they may stand in a store: as published, or opaque where a card is not `published`.

    Paths of files from a clinic often carry names, ids and dates.
    """
    group = f"{card.group_space}/{case.group}"
    if card.published:
        return case.image, case.name, group
    return (
        opaque(card.name, "file", case.image),
        opaque(card.name, "case", case.name),
        f"{card.group_space}/{opaque('group', group)}",
    )
