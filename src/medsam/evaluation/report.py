"""Score rows kept on disk so that a stopped run goes on, and summed up as tables."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import numpy as np

from medsam.errors import DataError, OutputError
from medsam.evaluation.evaluate import EvaluationProtocol
from medsam.evaluation.measure import Score
from medsam.files.atomic import replacing, write_json, write_text
from medsam.io.text import format_rows

HEADER = tuple(f.name for f in fields(Score))
NUMBERS = (
    "dice",
    "nsd",
    "seconds",
    "iou",
    "precision",
    "recall",
    "hd95",
    "volume_error",
    "quality",
    "memory_mb",
    "agreement",
)
RECORD = "run.json"
ROWS, VOLUMES = "rows.csv", "volumes.csv"  # of pictures and slices, and of whole volumes


@dataclass(frozen=True)
class ScoreSummary:
    """Median and quartiles of the targets of one data set or modality.

    Args:
        name: Data set or modality.
        modality: Of the data set; equal to name for a modality.
        images: Number of images with targets.
        targets: Number of targets.
        dice: First quartile, median, third quartile.
        nsd: The same of the NSD.
        failed: Targets to which the model gave no answer; they count with 0.
        method: Name of the model.
    """

    name: str
    modality: str
    images: int
    targets: int
    dice: tuple[float, float, float]
    nsd: tuple[float, float, float]
    failed: int = 0
    method: str = ""


class ScoreFile:
    """Rows and run.json of one evaluation: rows are appended an image and model at a time.

    Rows of a picture to which a model gave no answer are dropped when a run is opened again, so that it is asked again.

    Args:
        folder: Made if it is not there.
        models: Name of each model and identity of its weights.
        protocol: How targets are chosen and prompted.
        rows: Name of the file.

    Raises:
        DataError: the folder holds rows of another model or protocol, or rows that cannot be read.
    """

    def __init__(
        self, folder: Path, models: Mapping[str, str], protocol: EvaluationProtocol, *, rows: str = ROWS
    ) -> None:
        self.path = folder / rows
        run = json.loads(json.dumps({"models": dict(models), "protocol": asdict(protocol)}))
        record = folder / RECORD
        begun = self.path.exists() and len(self.path.read_text(encoding="utf-8").splitlines()) > 1
        if begun and (not record.exists() or _settings(record) != run):
            raise DataError(
                f"{folder} holds rows of another model or other settings",
                expected="the same models, split, noise, seed and limits",
                fix="choose another -o, or delete the folder",
            )
        write_json(record, run)
        kept = _whole_images(_read(self.path)) if self.path.exists() else []
        self.scores = [score for score in kept if not score.fault]
        write_text(
            self.path, _lines([HEADER, *map(astuple, self.scores)])
        )  # without the rows of an image that a killed run left half written
        self._done = {_picture(score) for score in self.scores}

    def has(self, dataset: str, sample: str, method: str, prompt: str = "box") -> bool:
        """Whether a model was measured on an image with a prompt already."""
        return (dataset, sample, method, prompt) in self._done

    def add(self, scores: Sequence[Score]) -> None:
        """Append the rows of one model on one image.

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
        self._done.update(map(_picture, scores))


def _picture(score: Score) -> tuple[str, str, str, str]:
    return score.dataset, score.sample, score.method, score.prompt


def _settings(record: Path) -> object:
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # never equal to a run, so the folder is refused


def _lines(rows: Sequence[Sequence[object]]) -> str:
    return format_rows([f"{value:.6f}" if isinstance(value, float) else value for value in row] for row in rows)


def _read(path: Path) -> list[Score]:
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    try:
        return [
            Score(
                dataset=row["dataset"], modality=row["modality"], sample=row["sample"], group=row["group"],
                target=int(row["target"]), targets=int(row["targets"]), pixels=int(row["pixels"]), method=row["method"],
                name=row["name"], fault=row["fault"], prompt=row["prompt"], unit=row["unit"], slices=int(row["slices"]),
                **{measure: _number(row[measure]) for measure in NUMBERS},
            )
            for row in csv.DictReader(whole.splitlines())
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error!r})", expected="rows written by medsam evaluate", fix="delete it"
        ) from None


def _number(text: str) -> float:
    value = float(text)
    return math.nan if math.isnan(value) else value  # the one NaN, so that equal rows are equal


def _whole_images(scores: Sequence[Score]) -> list[Score]:
    counts = Counter(map(_picture, scores))
    return [score for score in scores if counts[_picture(score)] == score.targets]


def summarize(scores: Sequence[Score], by: str) -> list[ScoreSummary]:
    """Sum the scores of one model up, by "dataset" or "modality", in alphabetical order."""
    name: Callable[[Score], str] = (lambda s: s.dataset) if by == "dataset" else (lambda s: s.modality)
    summaries = []
    for group in sorted({name(s) for s in scores}):
        rows = [s for s in scores if name(s) == group]
        images = len({(s.dataset, s.sample) for s in rows})
        dice, nsd = _quartiles([s.dice for s in rows]), _quartiles([s.nsd for s in rows])
        failed = sum(bool(s.fault) for s in rows)
        summaries.append(
            ScoreSummary(group, rows[0].modality, images, len(rows), dice, nsd, failed=failed, method=rows[0].method)
        )
    return summaries


def keep_first_prompt(scores: Sequence[Score]) -> list[Score]:
    """Keep the rows of the prompt that comes first, which the tables are about."""
    return [score for score in scores if score.prompt == scores[0].prompt] if scores else []


def split_methods(scores: Sequence[Score]) -> dict[str, list[Score]]:
    """Give the scores of each model, in the order in which the models come first."""
    methods: dict[str, list[Score]] = {}
    for score in scores:
        methods.setdefault(score.method, []).append(score)
    return methods


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = (float(v) for v in np.percentile(np.array(values), (25, 50, 75)))
    return low, middle, high


def mean_of_medians(summaries: Sequence[ScoreSummary]) -> tuple[float, float]:
    """Mean over data sets of the median Dice and the median NSD: every data set counts once, whatever its size."""
    return float(np.mean([s.dice[1] for s in summaries])), float(np.mean([s.nsd[1] for s in summaries]))


def write_tables(scores: Sequence[Score], *, cases: str = "images") -> str:
    """Write the tables by data set and by modality of every model, as Markdown.

    Args:
        scores: At least one.
        cases: What is counted beside the targets.
    """
    methods = split_methods(keep_first_prompt(scores))
    tables = [_write_method(rows, cases) for rows in methods.values()]
    if len(methods) == 1:
        return tables[0]
    return "\n".join(f"## {method}\n\n{table}" for method, table in zip(methods, tables, strict=True))


def write_volume_tables(scores: Sequence[Score]) -> str:
    """Write the tables of whole volumes as Markdown."""
    return f"# Whole volumes\n\n{write_tables(scores, cases='volumes')}"


def name_tolerance(scores: Sequence[Score]) -> str:
    """Say in which units the tolerance of the NSD is."""
    units = sorted({score.unit for score in scores}, reverse=True)
    return f"2 {' or '.join(units)}"


def _write_method(scores: Sequence[Score], cases: str) -> str:
    parts = []
    for by, title in (("dataset", "data set"), ("modality", "modality")):
        summaries = summarize(scores, by)
        first = f"| {title} |" + (" modality |" if by == "dataset" else "") + f" {cases} | targets |"
        head = f"{first} Dice, median (IQR) | NSD at {name_tolerance(scores)}, median (IQR) | failed |"
        lines = [head, "|" + "---|" * (head.count("|") - 1)]
        for s in summaries:
            kind = f" {s.modality} |" if by == "dataset" else ""
            cells = f"{_cell(s.dice)} | {_cell(s.nsd)} | {s.failed} |"
            lines.append(f"| {s.name} |{kind} {s.images} | {s.targets} | {cells}")
        if by == "dataset":
            mean_dice, mean_nsd = mean_of_medians(summaries)
            images, targets, failed = (sum(getattr(s, n) for s in summaries) for n in ("images", "targets", "failed"))
            means = f"**{mean_dice:.3f}** | **{mean_nsd:.3f}** | {failed} |"
            lines.append(f"| **mean of medians** | | {images} | {targets} | {means}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def read_scores(folder: Path) -> list[Score]:
    """Read the rows of an evaluation.

    Raises:
        DataError: none there, or they cannot be read.
    """
    path = folder / ROWS
    if not path.is_file():
        raise DataError(f"{folder} has no rows.csv", expected="a folder of medsam evaluate", fix="check the path")
    return _whole_images(_read(path))


def read_volumes(folder: Path) -> list[Score]:
    """Read the rows of whole volumes of an evaluation; none where it had no volume.

    Raises:
        DataError: they cannot be read.
    """
    path = folder / VOLUMES
    return _whole_images(_read(path)) if path.is_file() else []


def compare_methods(before: Sequence[Score], after: Sequence[Score]) -> str:
    """Compare two methods on the targets that both were measured on, by data set and modality, as Markdown.

    Raises:
        DataError: no target in common, or scores of several methods on one side.
    """
    if len(split_methods(before)) > 1 or len(split_methods(after)) > 1:
        raise DataError(
            "scores of several models", expected="one model on each side", fix="compare them with medsam report"
        )
    before, after = keep_first_prompt(before), keep_first_prompt(after)
    earlier = {_target(score): score for score in before}
    both = [(earlier[_target(score)], score) for score in after if _target(score) in earlier]
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
    _write_summary(folder, scores, ("rows.parquet", "summary.json", "summary.md"), write_tables(scores))


def write_volume_report(folder: Path, scores: Sequence[Score]) -> None:
    """Write volumes.md, volumes.json and volumes.parquet beside volumes.csv.

    Raises:
        OutputError: the disk refused.
    """
    _write_summary(folder, scores, ("volumes.parquet", "volumes.json", "volumes.md"), write_volume_tables(scores))


def _write_summary(folder: Path, scores: Sequence[Score], names: tuple[str, str, str], tables: str) -> None:
    import pyarrow
    from pyarrow import parquet

    datasets: list[dict[str, object]] = []
    modalities: list[dict[str, object]] = []
    means: dict[str, dict[str, float]] = {}
    for method, rows in split_methods(keep_first_prompt(scores)).items():
        by_dataset = summarize(rows, "dataset")
        dice, nsd = mean_of_medians(by_dataset)
        datasets += map(asdict, by_dataset)
        modalities += map(asdict, summarize(rows, "modality"))
        means[method] = {"dice": dice, "nsd": nsd}
    summary = {"datasets": datasets, "modalities": modalities, "mean_of_medians": means}
    of_rows, of_summary, of_tables = names
    write_text(folder / of_tables, tables)
    write_json(folder / of_summary, summary)
    with replacing(folder / of_rows) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist([asdict(s) for s in scores]), temporary)
