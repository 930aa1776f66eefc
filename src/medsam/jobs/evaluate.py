"""Models measured on pictures with expert masks: every one is asked the same, and rows and masks are kept."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medsam.engine import Engine, run
from medsam.errors import DataError
from medsam.evaluation.evaluate import EvaluationProtocol
from medsam.evaluation.index import UNKNOWN, IndexedPicture, read_index
from medsam.evaluation.measure import Score
from medsam.evaluation.report import (
    VOLUMES,
    ScoreFile,
    compare_methods,
    read_scores,
    read_volumes,
    write_report,
    write_tables,
    write_volume_report,
    write_volume_tables,
)
from medsam.evaluation.stored import list_stored
from medsam.evaluation.volumes import read_volume
from medsam.files.atomic import write_json, write_text
from medsam.imaging.modality import Modality, parse_modality
from medsam.jobs.evaluate_shards import EvaluationShard, PictureRow, load_comparators, measure_shard, refuse_doubles
from medsam.jobs.options import ModelOptions
from medsam.jobs.outputs import check_outputs

if TYPE_CHECKING:
    from medsam.progress import Progress

SOURCES = "sources.json"  # of a run: where its pictures lie
SHARD_PICTURES = 4  # of a worker at a time: few enough that a killed one loses seconds


@dataclass(frozen=True)
class EvaluateRequest:
    """What to measure.

    Args:
        folders: Data sets: folders and lists, as evaluation.index.read_index takes them.
        output: Folder of the run; a stopped run goes on there.
        protocol: How targets are chosen and prompted.
        store: Training store whose pictures are taken too.
        against: Folder of an evaluation of another model.
        model: What is measured, and how every model of models runs.
        models: Several, as evaluate_shards.load_comparator takes them, in place of model's own; None measures that one.
        timeout_seconds: Longest that a model may take for a picture; None sets no limit.
        keep_masks: Whether masks are written, for the pictures of a report.
        engine: Where pictures are measured: in this process, on this machine's cores, or on a Ray cluster, whose nodes see
            the same files.
        workers: As engine.run.
        address: As engine.run.
    """

    folders: Sequence[Path]
    output: Path
    protocol: EvaluationProtocol
    store: Path | None = None
    against: Path | None = None
    model: ModelOptions = ModelOptions()
    models: Sequence[str] | None = None
    timeout_seconds: float | None = None
    keep_masks: bool = True
    engine: Engine = "local"
    workers: int | None = None
    address: str | None = None

    @property
    def asked(self) -> tuple[str, ...] | None:
        """The models by their words; None asks the one of `model`."""
        return None if self.models is None else tuple(self.models)


@dataclass(frozen=True)
class EvaluateResult:
    """What was measured.

    Args:
        tables: As Markdown.
        failed: (model, reason) of the targets that count as failed, and how many there are.
        incomplete: (model, reason) of the labels of whole volumes of which slices got no answer, and how many there are.
    """

    tables: str
    failed: dict[tuple[str, str], int]
    incomplete: dict[tuple[str, str], int]


def list_pictures(folders: Sequence[Path], store: Path | None, protocol: EvaluationProtocol) -> list[PictureRow]:
    """List the pictures and volumes of data sets and of a store, with the protocol's modality and window where they tell none.

    Raises:
        DataError: neither was given, one is no data set, or two folders have one name.
    """
    if not folders and store is None:
        raise DataError("no data", expected="data set folders, or a store", fix="name folders, or pass --store")
    listed = [read_index(folder, protocol.split) for folder in folders]
    refuse_doubles([rows[0].dataset for rows in listed], "data sets", "rename one of them")
    stored = [] if store is None else list_stored(store, protocol.split)
    return [*(_complete(row, protocol) for rows in listed for row in rows), *stored]


def _complete(row: IndexedPicture, protocol: EvaluationProtocol) -> IndexedPicture:
    told = parse_modality(protocol.modality).value if protocol.modality else UNKNOWN
    modality = told if row.modality == UNKNOWN else row.modality
    window = protocol.window if modality == Modality.CT.value and row.is_volume else ""
    return replace(row, modality=modality, window=row.window or window)


def evaluate(request: EvaluateRequest, *, progress: Progress | None = None) -> EvaluateResult:
    """Ask every model the same of every picture, and write the folder; a stopped run goes on.

    Args:
        request: What to do.
        progress: Called with (images done, images in all).

    Raises:
        MedsamError: a folder without an index, an image and its mask that do not fit, nothing to measure, or a model
            that cannot be loaded.
    """
    check_outputs([request.output / SOURCES], [], overwrite=True)  # a stopped run goes on
    other = None if request.against is None else read_scores(request.against)
    scores = _measure(request, progress)
    write_report(request.output, scores)
    tables = write_tables(scores)
    volumes = read_volumes(request.output)
    if volumes:
        write_volume_report(request.output, volumes)
        tables = f"{tables}\n{write_volume_tables(volumes)}"
    if other is not None:
        comparison = compare_methods(other, scores)
        write_text(request.output / "comparison.md", comparison)
        tables = f"{tables}\n{comparison}"
    return EvaluateResult(tables, _count_faults(scores), _count_faults(volumes))


def _count_faults(scores: Sequence[Score]) -> dict[tuple[str, str], int]:
    counts = Counter((score.method, score.fault) for score in scores if score.fault)
    return dict(sorted(counts.items()))


def _measure(request: EvaluateRequest, progress: Progress | None) -> list[Score]:
    rows = [
        row
        for row in list_pictures(request.folders, request.store, request.protocol)
        if request.protocol.takes(row.dataset)
    ]
    for kept in (load_comparators, read_volume):
        kept.cache_clear()  # weights and scans may be others than in an earlier evaluation of this process
    weights = _weights_of(request)
    file = ScoreFile(request.output, weights, request.protocol)
    volumes = any(isinstance(row, IndexedPicture) and row.is_volume for row in rows)
    whole = ScoreFile(request.output, weights, request.protocol, rows=VOLUMES) if volumes else file
    _write_sources(request)
    shards = list(_divide(rows, (file, whole), request))
    done = len(rows) - sum(len(shard.rows) for shard in shards)
    for shard, scores in zip(
        shards, run(measure_shard, shards, engine=request.engine, workers=request.workers, address=request.address),
        strict=True,
    ):  # fmt: skip
        for _, group in itertools.groupby(scores, key=lambda s: (s.dataset, s.sample, s.method, s.prompt)):
            rows_of_one = list(group)
            one = rows_of_one[0]
            into = whole if one.slices else file
            if not into.has(one.dataset, one.sample, one.method, one.prompt):  # a round of clicks may be there
                into.add(rows_of_one)
        done += len(shard.rows)
        if progress is not None:
            progress(done, len(rows))
    if not file.scores:
        raise DataError("no image has a target", expected="at least one", fix="check the masks, --split and --tasks")
    return file.scores


def _weights_of(request: EvaluateRequest) -> dict[str, str]:
    """Load all models once, so that one that cannot be loaded is known before the first picture."""
    return {one.name: one.weights for one in load_comparators(request.asked, request.model)}


def _divide(
    rows: Sequence[PictureRow], files: tuple[ScoreFile, ScoreFile], request: EvaluateRequest
) -> Iterator[EvaluationShard]:
    """Shards of the pictures that some model still has to answer; where rows are, in this process, one at a time."""
    names = list(_weights_of(request))
    waiting: list[tuple[PictureRow, tuple[tuple[str, str], ...]]] = []
    for row in rows:
        file = files[isinstance(row, IndexedPicture) and row.is_volume]  # of a volume, the rows of the whole come last
        asked = itertools.product(names, request.protocol.prompts)
        missing = tuple(one for one in asked if not file.has(row.dataset, row.sample, *one))
        if missing:
            waiting.append((row, missing))
    size = 1 if request.engine == "local" else SHARD_PICTURES
    for part in (waiting[start : start + size] for start in range(0, len(waiting), size)):
        yield EvaluationShard(
            tuple(row for row, _ in part), tuple(missing for _, missing in part), request.protocol, request.asked,
            request.model, request.timeout_seconds, request.output if request.keep_masks else None,
        )  # fmt: skip


def _write_sources(request: EvaluateRequest) -> None:
    store = None if request.store is None else str(request.store.resolve())
    sources = {"folders": [str(folder.resolve()) for folder in request.folders], "store": store}
    write_json(request.output / SOURCES, sources)
