"""The page of a report: one HTML file with its own style and script, which asks no network for anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePosixPath

from medsam.evaluation.tables import Table

_STYLE = """
:root { color-scheme: light; --line: #d5d9de; --soft: #f4f6f8; --ink: #1c2329; --blue: #0b5cad; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 78rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.6rem; margin: .5rem 0 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
nav { position: sticky; top: 0; background: #fff; border-bottom: 1px solid var(--line); padding: .5rem 0; z-index: 2; }
nav a { margin-right: 1rem; } a { color: var(--blue); }
p.note, figcaption { color: #4a545e; font-size: .86rem; margin: .3rem 0 .6rem; }
.scroll { overflow-x: auto; max-height: 34rem; border: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; font-size: .84rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { position: sticky; top: 0; background: var(--soft); }
th button { font: inherit; font-weight: 600; border: 0; background: none; padding: 0; cursor: pointer; color: inherit; }
th[aria-sort=ascending] button::after { content: " \\25B2"; } th[aria-sort=descending] button::after { content: " \\25BC"; }
td.number { text-align: right; } tr:hover td { background: #eef4fb; } td.failed { color: #a01818; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; border: 1px solid var(--line); padding: .8rem; } figure.wide { grid-column: 1 / -1; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
input { font: inherit; padding: .25rem .5rem; border: 1px solid var(--line); width: 20rem; margin-bottom: .5rem; }
button.case { font: inherit; color: var(--blue); background: none; border: 0; padding: 0; cursor: pointer; text-decoration: underline; }
dialog { border: 1px solid var(--line); max-width: 92vw; } dialog img { max-width: 84vw; max-height: 74vh; display: block; }
"""
_SCRIPT = """
'use strict';
const key = cell => {
  const text = cell.textContent.trim(), number = parseFloat(text.replace(/,/g, ''));
  return text === 'inf' ? Infinity : Number.isNaN(number) ? text.toLowerCase() : number;
};
const compare = (a, b) => typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === 'number' ? -1 : 1;
for (const head of document.querySelectorAll('th')) head.querySelector('button').addEventListener('click', () => {
  const table = head.closest('table'), up = head.getAttribute('aria-sort') !== 'ascending', n = head.cellIndex;
  for (const other of table.querySelectorAll('th')) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const rows = [...table.tBodies[0].rows];
  rows.sort((r, s) => (up ? 1 : -1) * compare(key(r.cells[n]), key(s.cells[n])));
  table.tBodies[0].append(...rows);
});
const dialog = document.querySelector('dialog');
for (const button of document.querySelectorAll('button.case')) button.addEventListener('click', () => {
  dialog.querySelector('img').src = button.dataset.picture;
  dialog.querySelector('p').textContent = button.dataset.caption;
  dialog.showModal();
});
for (const input of document.querySelectorAll('input')) input.addEventListener('input', () => {
  for (const row of input.nextElementSibling.querySelectorAll('tbody tr'))
    row.hidden = !row.textContent.toLowerCase().includes(input.value.toLowerCase());
});
"""
_POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class PlateLink:
    """A figure on the page.

    Args:
        name: Of its files in figures/.
        caption: Under it.
        wide: Whether it takes the whole width.
    """

    name: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class CaseLink:
    """A case on the page.

    Args:
        cells: Of its row, the first one names it.
        picture: Path of its picture beside the page; None where there is none.
        caption: Under the picture.
    """

    cells: tuple[str | int | float, ...]
    picture: str | None
    caption: str


@dataclass(frozen=True)
class ReportPage:
    """What a report shows.

    Args:
        title: Of the page.
        facts: Lines under the title.
        tables: In order.
        plates: In order.
        case_columns: Headings of the cases.
        cases: In order, the worst first.
    """

    title: str
    facts: tuple[str, ...]
    tables: tuple[Table, ...]
    plates: tuple[PlateLink, ...]
    case_columns: tuple[str, ...]
    cases: tuple[CaseLink, ...]


def write_page(page: ReportPage) -> str:
    """Write the page; tables lie in tables/NAME.csv, figures in figures/NAME.png, .svg, .pdf and .csv beside it."""
    facts = "".join(f"<p class=note>{escape(fact)}</p>" for fact in page.facts)
    figures = "\n".join(map(_write_plate, page.plates))
    tables = "\n".join(
        f"<h2 id='{escape(table.name)}'>{escape(table.title)}</h2>{_write_table(table)}" for table in page.tables
    )
    links = "".join(f"<a href='#{escape(table.name)}'>{escape(table.name)}</a>" for table in page.tables)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width"><title>{escape(page.title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(page.title)}</h1>{facts}
<nav><a href="#figures">figures</a>{links}<a href="#cases">worst cases</a></nav>
<h2 id="figures">Figures</h2><div class="figures">{figures}</div>
{tables}
<h2 id="cases">Worst cases</h2>
<p class=note>Blue: prompt; yellow: model; magenta: expert. A click on the name of a case opens its picture.</p>
{_write_cases(page)}
<dialog><img alt=""><p class=note></p><form method="dialog"><button>close</button></form></dialog>
<script>{_SCRIPT}</script></body></html>
"""


def _write_plate(plate: PlateLink) -> str:
    name = escape(plate.name)
    files = " ".join(f"<a href='figures/{name}.{kind}'>{kind}</a>" for kind in ("pdf", "svg", "png", "csv"))
    kind = " class=wide" if plate.wide else ""
    picture = f"<img src='figures/{name}.png' alt='{name}'>"
    return (
        f"<figure{kind} id='figure-{name}'>{picture}<figcaption>{escape(plate.caption)} {files}</figcaption></figure>"
    )


def _write_head(columns: Sequence[str]) -> str:
    cells = "".join(f"<th><button>{escape(column)}</button></th>" for column in columns)
    return f"<thead><tr>{cells}</tr></thead>"


def _write_table(table: Table) -> str:
    lines = []
    for r, row in enumerate(table.rows):
        cells = []
        for c, cell in enumerate(row):
            text = escape(str(cell))
            kind = " class=number" if isinstance(cell, int | float) else ""
            cells.append(f"<td{kind}>{f'<b>{text}</b>' if (r, c) in table.bold else text}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    name = escape(table.name)
    files = " ".join(f"<a href='tables/{name}.{kind}'>{kind}</a>" for kind in ("csv", "md", "tex"))
    body = "\n".join(lines)
    return (
        f"<p class=note>{escape(table.note)} {files}</p>"
        f"<div class=scroll><table id='table-{name}'>{_write_head(table.columns)}<tbody>{body}</tbody></table></div>"
    )


def _write_cases(page: ReportPage) -> str:
    lines = []
    for case in page.cases:
        first, *rest = (escape(str(cell)) for cell in case.cells)
        if case.picture is not None:
            place = escape(str(PurePosixPath(case.picture)))
            first = f"<button class=case data-picture='{place}' data-caption='{escape(case.caption)}'>{first}</button>"
        cells = [first, *rest]
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    body = "\n".join(lines)
    return (
        "<input placeholder='filter the cases' aria-label='filter the cases'>"
        f"<div class=scroll><table id=table-cases>{_write_head(page.case_columns)}<tbody>{body}</tbody></table></div>"
    )
