"""`medsam curate`: data sets as published in, a training store out."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from medsam.cli.flags import Output, ThisTerminal

if TYPE_CHECKING:
    from medsam.data.store.curate import CuratedSource, CurateReport
    from medsam.data.store.settings import CurateSettings

FAULTS = 3  # the store is good, and something that was asked for is not in it


def curate(
    cards: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    output: Output,
    root: Path | None = None,
    external: Annotated[list[str], Parameter(negative=())] = [],  # noqa: B006 - cyclopts reads it
    seed: int | None = None,
    split: str | None = None,
    bits: Literal[8, 16] | None = None,
    engine: Literal["local", "processes", "ray"] = "processes",
    workers: int | None = None,
    address: str | None = None,
    terminal: ThisTerminal,
) -> int:
    """Turn data sets into a training store; run again, it adds what is missing and changes nothing else.


    Exit code 0: every file was used or excluded by a rule. 3: the store is good, but some files, cards or shards are at
    fault; each is listed with its reason. 1: nothing could be done.

    Args:
        cards: Names from `medsam cards` or .toml files, each as CARD or CARD=FOLDER.
        output: Folder of the store, made where it does not exist.
        root: Folder the paths of the cards start from; for a .toml file its own folder without it.
        external: Data sets held out as a whole for external validation.
        seed: Of the split, 0 without it; fixed when the store is made.
        split: Fractions of train, tune and val, 0.8,0.1,0.1 without it; fixed when the store is made.
        bits: 8, or 16 for pixels in finer steps; fixed when the store is made.
        engine: In this process, on this machine's cores, or on Ray.
        workers: Processes, or Ray tasks at a time; all cores without it.
        address: Of a running Ray cluster; without it Ray is started on this machine.
    """
    from medsam.data.store.curate import curate as make

    sources = [_source(text, root, external) for text in cards]
    _refuse_unknown(external, [source.card.name for source in sources])
    settings = _settings(output, seed, split, bits)
    with terminal.bars([source.card.name for source in sources]) as bars:
        report = make(
            sources, output, settings=settings, engine=engine, workers=workers, address=address, progress=bars
        )
    counts = {name: asdict(count.summary) | {"faults": count.faults} for name, count in report.counts.items()}
    answer = {"output": str(output), "made": report.made, "present": report.present, "clean": report.clean}
    terminal.report({**answer, "counts": counts}, lambda: _show(report, output))
    _warn(report, output)
    return 0 if report.clean else FAULTS


def _source(text: str, root: Path | None, external: list[str]) -> CuratedSource:
    from medsam.data.cards.card import load_card
    from medsam.data.store.curate import CuratedSource
    from medsam.errors import DataError

    name, _, folder = text.partition("=")
    card = load_card(name)
    if folder:
        base = Path(folder)
    elif root is not None:
        base = root
    elif name.endswith(".toml"):
        base = Path(name).parent
    else:
        raise DataError(
            f"no folder for the card {name}",
            expected="where the data set lies",
            fix=f"pass --root FOLDER, or {name}=FOLDER",
        )
    return CuratedSource(card, base, card.name in external)


def _refuse_unknown(external: list[str], given: list[str]) -> None:
    from medsam.errors import DataError

    for name in external:
        if name not in given:
            raise DataError(
                f"--external {name} is none of the cards",
                expected=f"one of {', '.join(given)}",
                fix="pass a card's own name",
            )


def _settings(output: Path, seed: int | None, split: str | None, bits: Literal[8, 16] | None) -> CurateSettings | None:
    """None where nothing was asked for, so that an existing store keeps its own."""
    from dataclasses import replace

    from medsam.data.store.settings import CurateSettings, load_settings
    from medsam.errors import DataError

    if seed is None and split is None and bits is None:
        return None
    chosen = load_settings(output) if (output / "store.json").is_file() else CurateSettings()
    if split is not None:
        try:
            fractions = tuple(float(part) for part in split.split(","))
        except ValueError:
            raise DataError(
                f"the split is {split!r}", expected="three fractions that sum to 1", fix="pass --split 0.8,0.1,0.1"
            ) from None
        chosen = replace(chosen, fractions=fractions)  # type: ignore[arg-type]
    return replace(chosen, seed=chosen.seed if seed is None else seed, bits=chosen.bits if bits is None else bits)


def _show(report: CurateReport, output: Path) -> None:
    """The counts as a table, then what was left out by reason, then every fault."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in ("data set", "modality"):
        table.add_column(name, no_wrap=True)
    for name in ("cases read", "kept", "images", "pairs read", "kept", "excluded", "faults"):
        table.add_column(name, justify="right")
    pairs, cases = Counter[str](), Counter[str]()
    for name, counts in report.counts.items():
        s = counts.summary
        numbers = (s.cases_read, s.cases_kept, s.images, s.pairs_read, s.pairs_kept, s.pairs_excluded, counts.faults)
        table.add_row(name, counts.modality, *(f"{number:,}" for number in numbers))
        pairs.update(counts.excluded_pairs)
        cases.update(counts.excluded_cases)
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=160)  # names stay whole in a file or a pipe
    console.print(table)
    for reason, number in sorted(pairs.items()):
        print(f"excluded {number:,} pairs: {reason}")
    for reason, number in sorted(cases.items()):
        print(f"excluded {number:,} images or masks: {reason}")
    print(f"{report.made} shards made, {report.present} were there; {output}")


def _warn(report: CurateReport, output: Path) -> None:
    for name, counts in report.counts.items():
        if counts.summary.suspect_text:
            cases = f"{counts.summary.suspect_text} cases of {name} ({counts.modality})"
            _say(f"warning: {cases} may carry burned-in text; look at them with medsam store browse")
        if counts.lost:
            _say(f"fault: {name}: {counts.lost}")
        if counts.faults:
            _say(f"fault: {counts.faults} files of {name}; medsam store info {output} --excluded lists them")
    if report.duplicates:
        _say(
            f"warning: {report.duplicates} near-duplicates lie in different splits; see {output / 'duplicates.parquet'}"
        )
    for name, error in report.failed_cards.items():
        _say(f"fault: card {name}: {error}")
    for outcome in report.failed_shards:
        _say(f"fault: shard {outcome.name} with {outcome.cases} cases: {outcome.error}; run the command again")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
