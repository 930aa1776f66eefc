"""`medsam store`: look into a training store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from medsam.cli.flags import Output, Overwrite, ThisTerminal

if TYPE_CHECKING:
    from medsam.data.store.reading import StoreCounts

app = App(name="store", help="Look into a store: info, check, browse, export, import.", help_format="plaintext")


@app.command
def info(
    store: Path,
    /,
    *,
    figure: Annotated[Path | None, Parameter(name=["--figure", "-f"])] = None,
    overwrite: Overwrite = False,
    excluded: Annotated[bool, Parameter(negative=())] = False,
    terminal: ThisTerminal,
) -> int:
    """Count the pairs of a store by modality, data set, target, licence and split.

    Example: medsam store info store/ --figure counts.png

    Args:
        store: Folder of the store.
        figure: Draw the counts (the paper's Fig. 2a) into this .png, .svg or .pdf.
        excluded: List what was left out, with its reason, one line each.
    """
    from dataclasses import asdict

    from medsam.data.store.reading import Store, count_store
    from medsam.data.store.tables import EXCLUDED, read_table
    from medsam.jobs.outputs import check_outputs

    check_outputs([figure], [store], overwrite=overwrite)
    opened = Store(store)
    counts = count_store(opened)
    if figure is not None:
        from medsam.data.browse import draw_counts

        draw_counts(counts, figure)
    if excluded:
        rows = read_table(opened.path / "excluded.parquet", schema=EXCLUDED).to_pylist()
        names = ("dataset", "file", "reason", "target", "pairs", "detail")
        terminal.answer(rows, "".join("\t".join(str(row[name]) for name in names) + "\n" for row in rows))
        return 0
    terminal.answer(asdict(counts), lambda: _tables(counts))
    return 0


def _tables(counts: StoreCounts) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    size = counts.bytes / max(counts.pairs, 1) / 1024
    console.print(f"{counts.pairs:,} pairs on {counts.images:,} images of {counts.groups:,} groups")
    console.print(f"{counts.bytes / 2**20:,.1f} MiB, {size:.1f} KiB a pair")
    for name, values in counts.by.items():
        table = Table(name, box=None)
        table.add_column("pairs", justify="right")
        table.add_column("share", justify="right")
        for value, number in values.items():
            table.add_row(value, f"{number:,}", f"{number / counts.pairs:.1%}")
        console.print(table)
    for reason, number in counts.excluded.items():
        print(f"excluded {number:,} pairs: {reason}")
    for reason, number in counts.excluded_cases.items():
        print(f"excluded {number:,} images or masks: {reason}")
    for modality, number in counts.suspect_text.items():
        print(f"warning: {number:,} {modality} images may carry burned-in text")
    if counts.near_duplicates:
        print(f"warning: {counts.near_duplicates:,} near-duplicates lie in different splits")


@app.command
def check(store: Path, /, *, sample: int | None = None, seed: int = 0, terminal: ThisTerminal) -> int:
    """Read a store back and compare it with its catalogue; exit code 1 where anything is wrong.

    Example: medsam store check store/ --sample 1000

    Args:
        store: Folder of the store.
        sample: Read only so many pairs, chosen at random; all without it.
        seed: Of that choice.
    """
    from medsam.data.store.reading import Store
    from medsam.data.store.reading import check as find_problems

    opened = Store(store)
    problems = find_problems(opened, sample=sample, seed=seed)
    for problem in problems:
        print(problem, file=sys.stderr)
    line = f"{len(problems)} problems in {len(opened):,} pairs" if problems else f"{len(opened):,} pairs: whole"
    terminal.answer({"pairs": len(opened), "problems": [str(problem) for problem in problems]}, line)
    return 1 if problems else 0


@app.command
def browse(
    store: Path,
    /,
    *,
    output: Output,
    count: int = 40,
    columns: int = 8,
    seed: int = 0,
    modality: str | None = None,
    dataset: str | None = None,
    target: str | None = None,
    split: str | None = None,
    overwrite: Overwrite = False,
    terminal: ThisTerminal,
) -> int:
    """Draw a sheet of random pairs with their contours.

    Example: medsam store browse store/ --modality CT -o sheet.png

    Args:
        store: Folder of the store.
        output: Picture to write (.png).
        count: How many pairs.
        columns: Pairs in a row.
        seed: Of the choice.
        modality: Only this modality.
        dataset: Only this data set.
        target: Only this target.
        split: Only this split.
    """
    from medsam.data.browse import draw_contact_sheet
    from medsam.data.store.reading import Store
    from medsam.jobs.outputs import check_outputs

    check_outputs([output], [store], overwrite=overwrite)
    wanted = {"modality": modality, "dataset": dataset, "target": target, "split": split}
    equal = {name: value for name, value in wanted.items() if value is not None}
    drawn = draw_contact_sheet(Store(store), output, count=count, columns=columns, seed=seed, **equal)
    terminal.report({"output": str(output), "pairs": drawn}, f"{drawn} pairs in {output}")
    return 0


@app.command
def export(
    store: Path,
    /,
    *,
    to: Literal["medsam-npy", "cvpr-npz", "nnunet", "webdataset"],
    output: Output,
    split: str | None = None,
    terminal: ThisTerminal,
) -> int:
    """Write a store in the layout of other training code.

    Example: medsam store export store/ --to nnunet -o nnunet/

    Args:
        store: Folder of the store.
        to: MedSAM's npy folders, one npz a slice as the CVPR challenges, nnU-Net raw, or webdataset tar files.
        output: Folder to write, new or empty.
        split: Only this split.
    """
    from medsam.data.export import export as write
    from medsam.data.store.reading import Store

    number = write(Store(store), output, to, split=split)
    terminal.report({"output": str(output), "images": number}, f"{number:,} images in {output}")
    return 0


@app.command(name="import")
def import_(
    tree: Path,
    /,
    *,
    output: Output,
    modality: str,
    name: str = "imported",
    licence: str = "not stated",
    terminal: ThisTerminal,
) -> int:
    """Bring a MedSAM npy or npz tree into a store.

    Example: medsam store import npy/CT_Abd --modality CT -o store/

    Args:
        tree: Folder with imgs/ and gts/ of .npy files, or with .npz files that hold imgs and gts.
        output: Folder of the store, made where it does not exist.
        modality: What made the images.
        name: Name of the data set in the store.
        licence: Under which the data may be used.
    """
    from medsam.cli.curate import FAULTS
    from medsam.data.imports import import_tree

    report = import_tree(tree, output, name=name, modality=modality, licence=licence)
    counts = report.counts[name].summary
    line = f"{counts.pairs_kept:,} pairs kept of {counts.pairs_read:,}"
    terminal.report({"pairs_kept": counts.pairs_kept, "pairs_read": counts.pairs_read}, line)
    return 0 if report.clean else FAULTS
