"""Coded meanings: every code is in the standard's dictionary with our meaning, and no name gets a meaning it does not have."""

from __future__ import annotations

import pytest

from medsam.io import coded
from medsam.io.coded import coding, color_of, name_of, stated_name


def test_every_code_means_in_snomed_what_we_say():
    from pydicom.sr._concepts_dict import concepts

    meanings: dict[str, set[str]] = {}
    for entries in concepts["SCT"].values():
        for code, (meaning, _) in entries.items():
            meanings.setdefault(code, set()).add(meaning.casefold())
    tables = (coded._ABNORMAL, coded._ANATOMICAL, coded._TISSUE)
    ours = [(code, meaning) for table in tables for code, (meaning, _) in table.items()]
    ours += [(c.value, c.meaning) for c in (coded.ABNORMAL, coded.ANATOMICAL, coded.TISSUE, *coded.SIDES.values())]
    assert [pair for pair in ours if pair[1].casefold() not in meanings.get(pair[0], set())] == []


@pytest.mark.parametrize(
    ("name", "category", "meaning", "side"),
    [
        ("Tumor", "Morphologically Abnormal Structure", "Neoplasm", None),
        ("tumour_2", "Morphologically Abnormal Structure", "Neoplasm", None),
        ("Left Kidney", "Anatomical Structure", "Kidney", "Left"),
        ("kidney-right", "Anatomical Structure", "Kidney", "Right"),
        ("left ventricle", "Anatomical Structure", "Left ventricle", None),
        ("liver tumor", "Tissue", "liver tumor", None),
        ("", "Tissue", "Segment", None),
    ],
)
def test_names_and_what_they_mean(name, category, meaning, side):
    found = coding(name)
    assert (found.category.meaning, found.kind.meaning) == (category, meaning)
    assert (found.side.meaning if found.side else None) == side


def test_unknown_names_get_a_code_of_our_own_scheme_that_fits_dicom():
    found = coding("x" * 200).kind
    assert found.scheme == "99MEDSAM"
    assert len(found.value) <= 16
    assert len(found.meaning) <= 64
    assert coding("one").kind.value != coding("two").kind.value


def test_made_up_names_are_not_read_back_as_stated():
    assert stated_name(3, name_of(3, {})) == ""
    assert stated_name(3, name_of(3, {3: "a\nb"})) == "a b"
    assert color_of(1) != color_of(2)
