"""`medsam cards`: the data set cards that come along, and checking one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from medsam.cli.flags import ThisTerminal

app = App(name="cards", help="List, show and check data set cards.", help_format="plaintext")


@app.default
def list_(*, modality: str | None = None, terminal: ThisTerminal) -> None:
    """List the cards of the package.

    Example: medsam cards --modality CT

    Args:
        modality: Only cards of this modality.
    """
    from rich.console import Console
    from rich.table import Table

    from medsam.data.cards.card import find_shipped_cards, load_card
    from medsam.imaging.modality import parse_modality

    wanted = parse_modality(modality) if modality else None
    table = Table("card", "modality", "dim", "targets", "licence", box=None)
    rows = []
    for name in find_shipped_cards():
        card = load_card(name)
        if wanted in (None, card.modality):
            names = [target.name for target in card.targets]
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            table.add_row(name, card.modality.value, f"{card.dimension}D", shown, card.licence)
            facts = {"dimension": card.dimension, "targets": names, "licence": card.licence}
            rows.append({"card": name, "modality": card.modality.value, **facts})
    terminal.answer(rows, lambda: Console().print(table))


@app.command
def show(card: str, /, *, terminal: ThisTerminal) -> None:
    """Print a card.

    Example: medsam cards show busi

    Args:
        card: A name from the list, or a .toml file.
    """
    from medsam.data.cards.card import load_card

    text = load_card(card).text
    terminal.answer({"card": card, "text": text}, text)


@app.command
def check(
    card: str, /, *, root: Annotated[Path | None, Parameter(name=["--root", "-r"])] = None, terminal: ThisTerminal
) -> int:
    """Check a card, and with --root which cases it finds; nothing but names is read.

    Example: medsam cards check busi --root data/BUSI

    Args:
        card: A name from the list, or a .toml file.
        root: Folder the card's paths start from.
    """
    from medsam.data.cards.card import load_card
    from medsam.data.cases.paths import find_cases

    loaded = load_card(card)
    kind = f"{loaded.modality}, {loaded.dimension}D, {len(loaded.targets)} targets"
    lines = [f"{loaded.name} {loaded.version}: {kind}"]
    answer: dict[str, object] = {"card": loaded.name, "version": loaded.version}
    if root is None:
        terminal.answer(answer, lines[0])
        return 0
    cases = find_cases(loaded, root)
    groups = len({case.group for case in cases})
    lost = [case for case in cases if not case.masks or any(not mask.files for mask in case.masks)]
    lines.append(f"{len(cases):,} cases of {groups:,} groups; {len(lost):,} without a mask file")
    for case in cases[:3]:
        masks = ", ".join(file for mask in case.masks for file in mask.files) or "no mask"
        lines.append(f"  {case.name} (group {case.group}): {case.image} <- {masks}")
    terminal.answer(answer | {"cases": len(cases), "groups": groups, "without_mask": len(lost)}, "\n".join(lines))
    return 1 if lost else 0
