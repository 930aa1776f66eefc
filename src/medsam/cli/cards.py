"""`medsam cards`: the data set cards that come along, and checking one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="cards", help="List, show and check data set cards.", help_format="plaintext")


@app.default
def list_(*, modality: str | None = None) -> int:
    """List the cards of the package.

    Parameters
    ----------
    modality
        Only cards of this modality.
    """
    from rich.console import Console
    from rich.table import Table

    from medsam.data.cards import load_card, shipped
    from medsam.imaging.modality import parse_modality

    wanted = parse_modality(modality) if modality else None
    table = Table("card", "modality", "dim", "targets", "licence", box=None)
    for name in shipped():
        card = load_card(name)
        if wanted in (None, card.modality):
            names = [target.name for target in card.targets]
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            table.add_row(name, card.modality.value, f"{card.dimension}D", shown, card.licence)
    Console().print(table)
    return 0


@app.command
def show(card: str, /) -> int:
    """Print a card.

    Parameters
    ----------
    card
        A name from the list, or a .toml file.
    """
    from medsam.data.cards import load_card

    print(load_card(card).text, end="")
    return 0


@app.command
def check(card: str, /, *, root: Annotated[Path | None, Parameter(name=["--root", "-r"])] = None) -> int:
    """Check a card, and with --root which cases it finds; nothing but names is read.

    Parameters
    ----------
    card
        A name from the list, or a .toml file.
    root
        Folder the card's paths start from.
    """
    from medsam.data.cards import load_card
    from medsam.data.layout import find_cases

    loaded = load_card(card)
    print(f"{loaded.name} {loaded.version}: {loaded.modality}, {loaded.dimension}D, {len(loaded.targets)} targets")
    if root is None:
        return 0
    cases = find_cases(loaded, root)
    lost = [case for case in cases if not case.masks or any(not mask.files for mask in case.masks)]
    print(f"{len(cases):,} cases of {len({case.group for case in cases}):,} groups; {len(lost):,} without a mask file")
    for case in cases[:3]:
        masks = ", ".join(file for mask in case.masks for file in mask.files) or "no mask"
        print(f"  {case.name} (group {case.group}): {case.image} <- {masks}")
    return 1 if lost else 0
