"""Curation: cards and folders in, a store out; atomic, resumable and idempotent on any engine.

A shard is named by what it is made of (card, recipe, fingerprints of its files), written beside its place and renamed
into it. So a killed run loses at most the shards in work, a second worker that made the same shard changes nothing, and
the store is a function of the sources alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from medsam.data.cards.card import Card
from medsam.data.cases.case import Bits, CaseResult, Excluded, read_case
from medsam.data.cases.paths import CaseFiles, find_cases, fingerprint, forget_listings
from medsam.data.cases.quality import Reason
from medsam.data.cases.slides import read_slide
from medsam.data.store.merge import merge
from medsam.data.store.records import Counts, read_record, write_json
from medsam.data.store.settings import FORMAT, CurateSettings, load_settings
from medsam.data.store.shards import write_shard
from medsam.data.store.tables import write_changed
from medsam.engine import Engine, run
from medsam.errors import DataError, OutputError
from medsam.files.atomic import remove_folder, replacing
from medsam.files.lock import LOCK, hold_folder
from medsam.progress import Progress

RECIPE = 2  # raised whenever the same sources would make other bytes
BYTES_PER_SHARD = 64 << 20  # of source files
_NOT_CONTENT = frozenset({"text", "title", "url", "notes", "citation", "external"})


@dataclass(frozen=True)
class CuratedSource:
    """A card, the folder it describes, and whether the whole set is held out for external validation."""

    card: Card
    root: Path
    external: bool = False


@dataclass(frozen=True)
class Shard:
    """One task: everything a worker needs to make one shard."""

    name: str
    card: Card
    root: Path
    cases: tuple[CaseFiles, ...]
    store: Path
    bits: Bits


@dataclass(frozen=True)
class ShardOutcome:
    """What a worker says about its shard; `error` is empty where it was committed."""

    name: str
    cases: int
    error: str = ""


@dataclass
class CurateReport:
    """What one run did; the counts are those of the whole store after it."""

    counts: dict[str, Counts] = field(default_factory=dict)
    made: int = 0
    present: int = 0
    failed_shards: list[ShardOutcome] = field(default_factory=list)
    failed_cards: dict[str, str] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def clean(self) -> bool:
        """Whether every card, target, shard and file of this run could be used."""
        lost = any(count.faults or count.lost for count in self.counts.values())
        return not (self.failed_shards or self.failed_cards or lost)


def curate(
    sources: Sequence[CuratedSource],
    store: Path,
    *,
    settings: CurateSettings | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    address: str | None = None,
    progress: Mapping[str, Progress] | None = None,
) -> CurateReport:
    """Bring data sets into a store; run again, it adds what is missing and changes nothing else.

    Args:
        sources: Data sets to add or renew; those already in the store stay.
        store: Folder, made where it does not exist.
        settings: Of a new store; None takes the store's own.
        engine, workers, address: Where the work runs; see medsam.engine.run.
        progress: By data set, called with (shards done, shards in all).

    Raises:
        DataError: other settings than the store's, the same data set twice, or a group in two splits.
        OutputError: the store cannot be written, or another run holds it.
    """
    names = [source.card.name for source in sources]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"the card {twice} is given twice", expected="each data set once", fix="leave one out, or rename it"
        )
    forget_listings()
    report = CurateReport()
    with _locked(store):
        chosen = _settle(store, settings)
        _sweep(store)
        planned = _plan_all(sources, store, chosen, report)
        missing = [shard for _, shards in planned for shard in shards if not (store / "shards" / shard.name).is_dir()]
        report.present = sum(len(shards) for _, shards in planned) - len(missing)
        _make_all(missing, report, run(make_shard, missing, engine=engine, workers=workers, address=address), progress)
        failed = {outcome.name for outcome in report.failed_shards}
        for source, shards in planned:
            made = [shard.name for shard in shards if shard.name not in failed]
            _record(source, store, made, complete=len(made) == len(shards))
        report.counts, report.duplicates = merge(store, seed=chosen.seed, fractions=chosen.fractions)
        report.counts = {name: counts for name, counts in report.counts.items() if name in names}
    return report


def _plan_all(
    sources: Sequence[CuratedSource], store: Path, settings: CurateSettings, report: CurateReport
) -> list[tuple[CuratedSource, list[Shard]]]:
    """The shards of every data set whose folder fits its card; the others are told in the report."""
    planned = []
    for source in sources:
        try:
            planned.append((source, list(plan(source, store, settings))))
        except DataError as error:
            report.failed_cards[source.card.name] = str(error)
    return planned


def _make_all(
    missing: Sequence[Shard],
    report: CurateReport,
    outcomes: Iterator[ShardOutcome],
    progress: Mapping[str, Progress] | None,
) -> None:
    """Count what the engine made; the shards of all data sets are one run, so that small sets keep every core busy."""
    totals = Counter(shard.card.name for shard in missing)
    done = Counter[str]()
    for shard, outcome in zip(missing, outcomes, strict=True):
        if outcome.error:
            report.failed_shards.append(outcome)
        else:
            report.made += 1
        done[shard.card.name] += 1
        if progress and shard.card.name in progress:
            progress[shard.card.name](done[shard.card.name], totals[shard.card.name])


def plan(source: CuratedSource, store: Path, settings: CurateSettings) -> Iterator[Shard]:
    """Divide a data set into shards: runs of cases in order, each named by the content it is made of.

    Raises:
        DataError: the folder is missing or nothing in it matches.
    """
    root = source.root.resolve()
    run_of: list[CaseFiles] = []
    size = 0
    for case in find_cases(source.card, root):
        grown = size + sum(_size(root / name) for name in (case.image, *(f for m in case.masks for f in m.files)))
        if run_of and (len(run_of) == settings.cases_per_shard or grown > BYTES_PER_SHARD):
            yield _shard(source.card, root, run_of, store, settings.bits)
            run_of, grown = [], grown - size
        run_of.append(case)
        size = grown
    yield _shard(source.card, root, run_of, store, settings.bits)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(member.stat().st_size for member in path.rglob("*") if member.is_file())
    return path.stat().st_size if path.is_file() else 0


def _shard(card: Card, root: Path, cases: list[CaseFiles], store: Path, bits: Bits) -> Shard:
    content = [
        [case.name, case.group, case.excluded, case.image, fingerprint(root / case.image)]
        + [[m.template, [t.name for t in m.targets], [[f, fingerprint(root / f)] for f in m.files]] for m in case.masks]
        for case in cases
    ]
    meaning = {f.name: repr(getattr(card, f.name)) for f in fields(card) if f.name not in _NOT_CONTENT}
    key = hashlib.sha256(json.dumps([RECIPE, bits, meaning, content]).encode()).hexdigest()[:20]
    return Shard(f"{card.name}-{key}", card, root, tuple(cases), store.resolve(), bits)


def make_shard(shard: Shard) -> ShardOutcome:
    """Read, check and write the cases of one shard, and give it its name once it is whole on the disk.

    A full disk, a vanished folder or too little memory come back as the outcome's error; nothing is left behind.
    """
    final = shard.store / "shards" / shard.name
    if final.is_dir():
        return ShardOutcome(shard.name, len(shard.cases))
    try:
        with replacing(final, what="a shard", keep_folder=True) as temporary:  # another worker's has the same bytes
            temporary.mkdir()
            write_shard(temporary, shard.name, shard.card, (_read(shard, case) for case in shard.cases))
    except (OutputError, MemoryError) as error:
        refused = error.__cause__ if isinstance(error, OutputError) else error
        said = getattr(refused, "strerror", None) or type(refused).__name__
        return ShardOutcome(shard.name, len(shard.cases), f"not written: {said}")
    return ShardOutcome(shard.name, len(shard.cases))


def _read(shard: Shard, case: CaseFiles) -> CaseResult:
    """A case's result; the border at which one bad file must not end a run of a million."""
    try:
        if shard.card.images.form == "slide":
            return read_slide(shard.card, case, shard.root, bits=shard.bits)
        return read_case(shard.card, case, shard.root, bits=shard.bits)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - a fault by its type; the text may quote the file
        return CaseResult(case, excluded=(Excluded(Reason.UNREADABLE, f"reading it failed ({type(error).__name__})"),))


def _record(source: CuratedSource, store: Path, shards: list[str], *, complete: bool) -> None:
    """Write which shards a data set has, its card, and drop the shards that its last state had and this has not."""
    card = source.card
    path = store / "datasets" / f"{card.name}.json"
    before = read_record(path).shards if path.is_file() else ()
    entry = {
        "name": card.name, "version": card.version, "title": card.title, "licence": card.licence,
        "citation": card.citation, "url": card.url, "modality": card.modality.value, "dimension": card.dimension,
        "external": source.external or card.external, "complete": complete, "shards": shards,
        "targets": {target.name: list(target.ids) for target in card.targets},
    }  # fmt: skip
    write_json(path, entry)
    kept = card.text if card.published or not card.exclude else "# not kept: its list of exclusions may name patients\n"
    write_changed(store / "cards" / f"{card.name}.toml", kept.encode())
    for name in set(before) - set(shards):
        remove_folder(store / "shards" / name)


def _settle(store: Path, settings: CurateSettings | None) -> CurateSettings:
    """The store's settings, written down when it is new."""
    path = store / "store.json"
    if not path.is_file():
        chosen = settings or CurateSettings()
        write_json(path, {"format": FORMAT, **asdict(chosen)})
        return chosen
    present = load_settings(store)
    if settings is not None and settings != present:
        raise DataError(
            f"the store has {_unlike(present, settings)}, asked for {_unlike(settings, present)}",
            expected="the same settings for a whole store",
            fix="leave them out, or make a new store",
        )
    return present


def _unlike(one: CurateSettings, other: CurateSettings) -> str:
    theirs = asdict(other)
    return ", ".join(f"{name} {value}" for name, value in asdict(one).items() if value != theirs[name])


def _sweep(store: Path) -> None:
    """Remove what killed runs left half done, also under the hands of a worker that outlived its run on another node."""
    for folder in (store / "shards").glob(".*"):
        remove_folder(folder)
    for folder in (store, store / "datasets", store / "cards"):
        for file in folder.glob(".*.*"):
            if file.is_file() and file.name != LOCK:
                file.unlink(missing_ok=True)


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """One run at a time on a store; the lock goes with the process, however it ends."""
    try:
        (store / "shards").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{store} cannot be made ({error.strerror})",
            expected="a writable folder",
            fix="check the path and its permissions",
        ) from None
    with hold_folder(store):
        yield
