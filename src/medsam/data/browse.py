"""Pictures of a store: how many pairs of what (the paper's Fig. 2a), and a sheet of random pairs with contours."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from medsam.data.store.reading import Store, StoreCounts
from medsam.files.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE = "#2f6690", "#e07a1f"
TILE = 224
TITLE_CHARACTERS = 32


def draw_counts(counts: StoreCounts, path: Path) -> None:
    """Draw pairs by modality (logarithmic, as the paper), by split, and the most frequent targets.

    Args:
        counts: Of the store.
        path: .png, .svg or .pdf.
    """
    from matplotlib.figure import Figure

    targets = list(counts.by["target"].items())[:15]
    figure = Figure(figsize=(11, 1.4 + 0.26 * max(len(counts.by["modality"]), len(targets))), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bars(left, list(counts.by["modality"].items()), BLUE, "Image-mask pairs by modality")
    _bars(right, targets, ORANGE, f"By target ({len(targets)} of {len(counts.by['target'])})")
    splits = ", ".join(f"{name} {count:,}" for name, count in counts.by["split"].items())
    figure.suptitle(
        f"{counts.pairs:,} pairs on {counts.images:,} images of {counts.groups:,} groups ({splits})", fontsize=10
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _bars(axes: Axes, counts: list[tuple[str, int]], color: str, title: str) -> None:
    names = [name for name, _ in counts][::-1]
    values = [count for _, count in counts][::-1]
    axes.barh(names, values, color=color, height=0.7)
    axes.set_xscale("log")
    axes.set_xlim(0.8, max(values, default=1) * 6)
    for row, value in enumerate(values):
        axes.text(value * 1.1, row, f"{value:,}", va="center", fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_contact_sheet(
    store: Store, path: Path, *, count: int = 40, columns: int = 8, seed: int = 0, **equal: str
) -> int:
    """Draw random pairs with the mask's contour and its target, an equal number of each modality as far as they go.

    Args:
        store: Where from.
        path: .png to write.
        count: How many pairs.
        columns: Pairs in a row.
        seed: Of the choice.
        equal: Only rows whose columns have these values.

    Returns:
        How many pairs were drawn.
    """
    from matplotlib.figure import Figure

    numbers = _choose(store, store.rows(**equal), count, np.random.default_rng(seed))
    rows = max(1, -(-len(numbers) // columns))
    figure = Figure(figsize=(columns * 1.6, rows * 1.85))
    figure.subplots_adjust(
        left=0.005, right=0.995, bottom=0.005, top=1 - 0.28 / (rows * 1.85), wspace=0.04, hspace=0.22
    )
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, number in zip(figure.axes, numbers, strict=False):
        _draw(axes, store, int(number))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=TILE / 1.6)
    return len(numbers)


def _choose(store: Store, rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Take turns among the modalities until there are enough."""
    kinds = np.array(store.catalogue["modality"].to_pylist(), dtype=object)[rows]
    shuffled = {kind: list(rng.permutation(rows[kinds == kind])) for kind in sorted(set(kinds))}
    chosen: list[tuple[str, int]] = []
    while len(chosen) < count and any(shuffled.values()):
        chosen += [(kind, int(left.pop())) for kind, left in shuffled.items() if left]
    return np.array([number for _, number in sorted(chosen[:count])], dtype=np.int64)


def _draw(axes: Axes, store: Store, number: int) -> None:
    picture = store.slice_rgb(number)
    _, mask = store.pair(number)
    row = store.catalogue.slice(number, 1).to_pylist()[0]
    axes.imshow(picture)
    axes.contour(mask, levels=[0.5], colors=["#00e05a"], linewidths=1.0)
    lines = (f"{row['modality']}: {row['target']}", str(row["dataset"]))
    axes.set_title("\n".join(shorten(line, TITLE_CHARACTERS, placeholder="...") for line in lines), fontsize=6)
