"""Score rows kept on disk so that a stopped run goes on, and summed up as tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import numpy as np

from medsam.errors import DataError, OutputError
from medsam.evaluation.evaluate import Protocol, Score
from medsam.io.atomic import replacing

HEADER = tuple(f.name for f in fields(Score))


@dataclass(frozen=True)
class Summary:
    """Median and quartiles of the targets of one data set or modality.

    Args:
        name: Data set or modality.
        modality: Of the data set; equal to name for a modality.
        images: Number of images with targets.
        targets: Number of targets.
        dice: First quartile, median, third quartile.
        nsd: The same of the NSD.
    """

    name: str
    modality: str
    images: int
    targets: int
    dice: tuple[float, float, float]
    nsd: tuple[float, float, float]


class ScoreFile:
    """rows.csv and run.json of one evaluation: rows are appended an image at a time.

    Args:
        folder: Made if it is not there.
        method: Name of the model.
        weights: Identity of its weights.
        protocol: How targets are chosen and prompted.

    Raises:
        DataError: the folder holds rows of another model or protocol, or rows that cannot be read.
    """

    def __init__(self, folder: Path, method: str, weights: str, protocol: Protocol) -> None:
        self.path = folder / "rows.csv"
        run = {"method": method, "weights": weights, "protocol": asdict(protocol)}
        record = folder / "run.json"
        if record.exists() and _settings(record) != run:
            raise DataError(
                f"{folder} holds rows of another model or other settings",
                expected="the same model, split, noise, seed and limits",
                fix="choose another -o, or delete the folder",
            )
        with replacing(record) as temporary:
            temporary.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        self.scores = _whole_images(_read(self.path)) if self.path.exists() else []
        with replacing(self.path) as temporary:  # without the rows of an image that a killed run left half written
            temporary.write_text(_lines([HEADER, *map(astuple, self.scores)]), encoding="utf-8")
        self._done = {(s.dataset, s.sample) for s in self.scores}

    def has(self, dataset: str, sample: str) -> bool:
        """Whether an image was measured already."""
        return (dataset, sample) in self._done

    def add(self, scores: Sequence[Score]) -> None:
        """Append the rows of one image.

        Raises:
            OutputError: the disk refused; the rows before are kept.
        """
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_lines([astuple(score) for score in scores]))
        except OSError as error:
            got = f"{self.path} could not be written ({error.strerror or error})"
            raise OutputError(got, expected="room on the disk", fix="free space and run again; it goes on") from None
        self.scores.extend(scores)
        self._done.update((s.dataset, s.sample) for s in scores)


def _settings(record: Path) -> object:
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # never equal to a run, so the folder is refused


def _lines(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [f"{value:.6f}" if isinstance(value, float) else value for value in row] for row in rows
    )
    return text.getvalue()


def _read(path: Path) -> list[Score]:
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    try:
        return [
            Score(
                dataset=row["dataset"], modality=row["modality"], sample=row["sample"], group=row["group"],
                target=int(row["target"]), targets=int(row["targets"]), pixels=int(row["pixels"]), method=row["method"],
                dice=float(row["dice"]), nsd=float(row["nsd"]), seconds=float(row["seconds"]),
            )
            for row in csv.DictReader(whole.splitlines())
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error!r})", expected="rows written by medsam evaluate", fix="delete it"
        ) from None


def _whole_images(scores: Sequence[Score]) -> list[Score]:
    counts: dict[tuple[str, str], int] = {}
    for score in scores:
        key = (score.dataset, score.sample)
        counts[key] = counts.get(key, 0) + 1
    return [score for score in scores if counts[(score.dataset, score.sample)] == score.targets]


def summarize(scores: Sequence[Score], by: str) -> list[Summary]:
    """Sum scores up, by "dataset" or "modality", in alphabetical order."""
    name: Callable[[Score], str] = (lambda s: s.dataset) if by == "dataset" else (lambda s: s.modality)
    summaries = []
    for group in sorted({name(s) for s in scores}):
        rows = [s for s in scores if name(s) == group]
        images = len({(s.dataset, s.sample) for s in rows})
        quartiles = [_quartiles([s.dice for s in rows]), _quartiles([s.nsd for s in rows])]
        summaries.append(Summary(group, rows[0].modality, images, len(rows), quartiles[0], quartiles[1]))
    return summaries


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = (float(v) for v in np.percentile(np.array(values), (25, 50, 75)))
    return low, middle, high


def mean_of_medians(summaries: Sequence[Summary]) -> tuple[float, float]:
    """Mean over data sets of the median Dice and the median NSD: every data set counts once, whatever its size."""
    return float(np.mean([s.dice[1] for s in summaries])), float(np.mean([s.nsd[1] for s in summaries]))


def markdown(scores: Sequence[Score]) -> str:
    """The tables by data set and by modality, as Markdown."""
    parts = []
    for by, title in (("dataset", "data set"), ("modality", "modality")):
        summaries = summarize(scores, by)
        first = f"| {title} |" + (" modality |" if by == "dataset" else "") + " images | targets |"
        lines = [f"{first} Dice, median (IQR) | NSD at 2 px, median (IQR) |", "|" + "---|" * (first.count("|") + 1)]
        for s in summaries:
            kind = f" {s.modality} |" if by == "dataset" else ""
            lines.append(f"| {s.name} |{kind} {s.images} | {s.targets} | {_cell(s.dice)} | {_cell(s.nsd)} |")
        if by == "dataset":
            mean_dice, mean_nsd = mean_of_medians(summaries)
            images, targets = sum(s.images for s in summaries), len(scores)
            lines.append(f"| **mean of medians** | | {images} | {targets} | **{mean_dice:.3f}** | **{mean_nsd:.3f}** |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def read_scores(folder: Path) -> list[Score]:
    """The rows of an evaluation.

    Raises:
        DataError: none there, or they cannot be read.
    """
    path = folder / "rows.csv"
    if not path.is_file():
        raise DataError(f"{folder} has no rows.csv", expected="a folder of medsam evaluate", fix="check the path")
    return _whole_images(_read(path))


def comparison(before: Sequence[Score], after: Sequence[Score]) -> str:
    """Two methods on the targets that both were measured on, by data set and modality, as Markdown.

    Raises:
        DataError: no target in common.
    """
    told = {_target(score): score for score in before}
    both = [(told[_target(score)], score) for score in after if _target(score) in told]
    if not both:
        raise DataError("no target in common", expected="the same data and settings", fix="evaluate both alike")
    first, second = [one for one, _ in both], [two for _, two in both]
    names = f"{first[0].method} -> {second[0].method}"
    parts = []
    for by, title in (("dataset", "data set"), ("modality", "modality")):
        lines = [f"| {title} | targets | Dice {names} | change | NSD {names} | change |", "|---|---|---|---|---|---|"]
        rows = list(zip(summarize(first, by), summarize(second, by), strict=True))
        lines += [
            f"| {a.name} | {a.targets} | {_change(a.dice[1], b.dice[1])} | {_change(a.nsd[1], b.nsd[1])} |"
            for a, b in rows
        ]
        means = [mean_of_medians([pair[i] for pair in rows]) for i in (0, 1)]
        dice, nsd = _change(means[0][0], means[1][0]), _change(means[0][1], means[1][1])
        lines.append(f"| **mean of medians** | {len(both)} | {dice} | {nsd} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _target(score: Score) -> tuple[str, str, int]:
    return score.dataset, score.sample, score.target


def _change(before: float, after: float) -> str:
    return f"{before:.3f} -> {after:.3f} | {100 * (after - before):+.1f}"


def _cell(quartiles: tuple[float, float, float]) -> str:
    low, middle, high = quartiles
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def write_report(folder: Path, scores: Sequence[Score]) -> None:
    """Write summary.md, summary.json and rows.parquet beside rows.csv.

    Raises:
        OutputError: the disk refused.
    """
    import pyarrow
    from pyarrow import parquet

    by_dataset = summarize(scores, "dataset")
    mean_dice, mean_nsd = mean_of_medians(by_dataset)
    summary = {
        "datasets": [asdict(s) for s in by_dataset],
        "modalities": [asdict(s) for s in summarize(scores, "modality")],
        "mean_of_medians": {"dice": mean_dice, "nsd": mean_nsd},
    }
    with replacing(folder / "summary.md") as temporary:
        temporary.write_text(markdown(scores), encoding="utf-8")
    with replacing(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    with replacing(folder / "rows.parquet") as temporary:
        parquet.write_table(pyarrow.Table.from_pylist([asdict(s) for s in scores]), temporary)
