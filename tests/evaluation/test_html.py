"""The page holds everything, escapes names, and refers to nothing outside."""

from __future__ import annotations

import re

from medsam.evaluation.html import CaseLink, PlateLink, ReportPage, write_page
from medsam.evaluation.tables import Table

NAME = '<b>us & "co"\' </b>'
PAGE = ReportPage(
    "Report", ("1 < 2",), (Table("ranks", "Ranks", ("Model", "Rank"), ((NAME, 1.5),), frozenset({(0, 1)})),),
    (PlateLink("boxes", "Medians"),), ("Case", "Model"),
    (CaseLink((NAME, "a"), "cases/1.png", NAME), CaseLink(("lost", "b"), None, "")),
)  # fmt: skip


def test_tables_figures_and_cases_are_there_and_names_are_text():
    text = write_page(PAGE)
    assert NAME not in text
    assert "<b>1.5</b>" in text
    assert "src='figures/boxes.png'" in text
    assert text.count("data-picture=") == 1
    assert "<td>lost</td>" in text
    assert "1 &lt; 2" in text


def test_nothing_outside_is_named():
    text = write_page(PAGE)
    assert re.findall(r"https?:|//[a-z]|@import|url\(", text) == []
    assert "default-src 'none'" in text
