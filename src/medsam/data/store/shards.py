"""Shards of a store: zarr v3 arrays of pictures and mask layers with their rows, written once and never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medsam.data.cards.card import Card
from medsam.data.cases.case import CaseResult, StoredSlice, to_eight_bit
from medsam.data.cases.quality import compute_perceptual_hash
from medsam.data.store.planes import write_planes
from medsam.data.store.tables import EXCLUDED, PAIRS, choose_names, hash_name

ARRAYS = "arrays.zarr"
UNTOLD = "(may name a file of a set that is not published)"
STEP = 64  # sides are padded up to a multiple, so that a set with many sizes makes few arrays; padding packs to nothing


@dataclass
class ShardSummary:
    """What a shard read and kept; pairs_kept + pairs_excluded == pairs_read."""

    cases_read: int = 0
    cases_kept: int = 0
    pairs_read: int = 0
    pairs_kept: int = 0
    pairs_excluded: int = 0
    images: int = 0
    suspect_text: int = 0


@dataclass
class _Arrays:
    """Planes by array, in the order they came."""

    planes: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, kind: str, plane: np.ndarray) -> tuple[str, int]:
        """Keep a plane; gives its array's name and its place there."""
        height, width = (-(-side // STEP) * STEP for side in plane.shape[:2])
        channels = f"x{plane.shape[2]}" if plane.ndim == 3 else ""
        name = f"{kind}_{height}x{width}{channels}_u{plane.dtype.itemsize}"
        self.planes.setdefault(name, []).append(plane)
        return name, len(self.planes[name]) - 1


def write_shard(folder: Path, name: str, card: Card, results: Iterable[CaseResult]) -> ShardSummary:
    """Write cases as one shard into an empty folder: arrays, pairs.parquet, excluded.parquet, shard.json.

    The same cases always make the same bytes.

    Raises:
        OSError: the disk refused; the folder then holds half a shard.
    """
    arrays, summary = _Arrays(), ShardSummary()
    pairs: list[dict[str, object]] = []
    excluded: list[dict[str, object]] = []
    for result in results:
        _add_pairs(card, name, result, arrays, pairs)
        _add_excluded(card, result, excluded)
        _count(result, summary)
    if summary.pairs_kept + summary.pairs_excluded != summary.pairs_read:
        raise AssertionError(f"{name}: {summary} loses pairs")  # our own invariant: nothing disappears
    _write_arrays(folder / ARRAYS, arrays)
    pq.write_table(pa.Table.from_pylist(pairs, schema=PAIRS), folder / "pairs.parquet", compression="zstd")
    pq.write_table(pa.Table.from_pylist(excluded, schema=EXCLUDED), folder / "excluded.parquet", compression="zstd")
    (folder / "shard.json").write_text(json.dumps(asdict(summary), indent=1) + "\n", encoding="utf-8")
    return summary


def _count(result: CaseResult, summary: ShardSummary) -> None:
    kept = sum(len(picture.pairs) for picture in result.slices)
    summary.cases_read += 1
    summary.cases_kept += bool(kept)
    summary.pairs_read += result.pairs_read
    summary.pairs_kept += kept
    summary.pairs_excluded += sum(entry.pairs for entry in result.excluded)
    summary.images += len(result.slices)
    summary.suspect_text += result.suspect_text and bool(kept)


def _add_pairs(card: Card, shard: str, result: CaseResult, arrays: _Arrays, rows: list[dict[str, object]]) -> None:
    file, case, group = choose_names(card, result.case)
    spacing = result.spacing_mm or (None, None, None)
    of_case: dict[str, object] = {
        "dataset": card.name,
        "version": card.version,
        "file": file,
        "case": case,
        "group": group,
        "modality": card.modality.value,
        "slices": result.depth,
        "licence": card.licence,
        "suspect_text": result.suspect_text,
        "shard": shard,
        **dict(zip(("spacing_z_mm", "spacing_y_mm", "spacing_x_mm"), spacing, strict=True)),
    }
    for picture in result.slices:
        rows += [{**of_case, **row} for row in _rows_of_slice(card, case, picture, arrays)]


def _rows_of_slice(card: Card, case: str, picture: StoredSlice, arrays: _Arrays) -> list[dict[str, object]]:
    pixels = picture.pixels_HWC
    height, width, channels = pixels.shape
    image_array, image_index = arrays.add("image", pixels)
    of_slice: dict[str, object] = {
        "window": picture.window, "slice": picture.index, "height": height, "width": width, "channels": channels,
        "image_sha256": hashlib.sha256(pixels.data).hexdigest(), "perceptual_hash": compute_perceptual_hash(to_eight_bit(pixels)),
        "image_array": image_array, "image_index": image_index,
    }  # fmt: skip
    places = [arrays.add("mask", layer.astype(np.uint8) if layer.max() < 256 else layer) for layer in picture.layers]
    rows = []
    for pair in picture.pairs:
        mask_array, mask_index = places[pair.layer]
        x0, y0, x1, y1 = pair.box
        identity = (card.name, case, picture.window, str(picture.index), pair.target, str(pair.number))
        rows.append({
            **of_slice, "sample_id": hash_name(*identity), "target": pair.target, "label": pair.label,
            "object": pair.number, "area_px": pair.area_px, "x0": x0, "y0": y0, "x1": x1, "y1": y1,
            "mask_sha256": hash_mask(picture.layers[pair.layer], pair.value, pair.box),
            "mask_array": mask_array, "mask_index": mask_index, "mask_value": pair.value,
        })  # fmt: skip
    return rows


def hash_mask(layer_HW: np.ndarray, value: int, box: tuple[int, int, int, int]) -> str:
    """Of a pair's mask: the size of the slice and the box as text, then the mask inside the box, one byte a pixel."""
    x0, y0, x1, y1 = box
    height, width = layer_HW.shape
    inside = layer_HW[y0 : y1 + 1, x0 : x1 + 1] == value
    return hashlib.sha256(f"{height},{width},{x0},{y0},{x1},{y1},".encode() + inside.tobytes()).hexdigest()


def _add_excluded(card: Card, result: CaseResult, rows: list[dict[str, object]]) -> None:
    file, case, _ = choose_names(card, result.case)
    for entry in result.excluded:
        rows.append({
            "dataset": card.name, "file": file, "case": case, "reason": entry.reason.value, "target": entry.target,
            "detail": entry.detail if card.published or not entry.quotes else UNTOLD, "pairs": entry.pairs, "fault": entry.is_fault,
        })  # fmt: skip


def _write_arrays(folder: Path, arrays: _Arrays) -> None:
    import zarr

    zarr.open_group(folder, mode="w", zarr_format=3)
    for name, planes in sorted(arrays.planes.items()):
        height, width = (int(side) for side in name.split("_")[1].split("x")[:2])
        write_planes(folder / name, planes, (height, width))
        planes.clear()
