"""Coded meanings: every code is in the standard's dictionary with our meaning, and no name gets a meaning it does not have."""

from __future__ import annotations

import pytest

from medsam.errors import PromptError
from medsam.io import codes as coded
from medsam.io.codes import (
    ANATOMICAL,
    TISSUE,
    Code,
    find_coding,
    find_stated,
    parse_code,
    read_name,
    search_codes,
    write_name,
)


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
    found = find_coding(name)
    assert (found.category.meaning, found.kind.meaning) == (category, meaning)
    assert (found.side.meaning if found.side else None) == side


def test_unknown_names_get_a_code_of_our_own_scheme_that_fits_dicom():
    found = find_coding("x" * 200).kind
    assert found.scheme == "99MEDSAM"
    assert len(found.value) <= 16
    assert len(found.meaning) <= 64
    assert find_coding("one").kind.value != find_coding("two").kind.value


def test_made_up_names_are_not_read_back_as_stated():
    assert read_name(3, write_name(3, {})) == ""
    assert read_name(3, write_name(3, {3: "a\nb"})) == "a b"


def test_a_stated_code_wins_over_the_name():
    stated = ("SCT", "64033007", "Kidney")
    assert find_coding("tumor", stated).kind == Code("64033007", "SCT", "Kidney")
    assert find_coding("tumor", stated).category == ANATOMICAL
    assert find_coding("tumor", stated).side is None
    assert find_coding("left kidney", stated).side.meaning == "Left"
    assert find_coding("liver", ("99LOCAL", "A1", "Part 8")).category == TISSUE


def test_codes_as_a_user_writes_them():
    assert parse_code("SCT:10200004:Liver") == parse_code("sct:10200004") == parse_code("10200004")
    assert parse_code(" 99LOCAL : A1 : Couinaud: 8 ") == ("99LOCAL", "A1", "Couinaud: 8")


@pytest.mark.parametrize(
    "text", ["", "SCT", "SCT:1", "SCT::Liver", "99LOCAL:A1", "S:1:a^b", "S:1:a\nb", "S:1:" + "x" * 65]
)
def test_a_code_that_no_file_holds_is_refused(text):
    with pytest.raises(PromptError, match="SCHEME:VALUE:MEANING"):
        parse_code(text)


def test_a_file_states_a_code_only_where_its_name_does_not_lead_there():
    assert find_stated("liver", ("SCT", "10200004", "Liver")) is None
    assert find_stated("foo", ("99MEDSAM", "NAME-1", "foo")) is None
    assert find_stated("foo", ("SCT", "10200004", "Liver")) == ("SCT", "10200004", "Liver")
    assert find_stated("foo", ("SCT", "", "Liver")) is None


def test_terms_are_found_by_the_beginnings_of_their_words_the_named_first():
    assert search_codes("liv")[0] == ("SCT", "10200004", "Liver")
    assert search_codes("tumour")[0] == ("SCT", "108369006", "Neoplasm")  # by a name that leads there
    assert search_codes("10200004")[0] == ("SCT", "10200004", "Liver")
    assert ("SCT", "23451007", "Adrenal gland") in search_codes("gl adren")
    assert all("vein" in meaning.casefold() for _, _, meaning in search_codes("hepatic vein"))
    assert len(search_codes("a", 5)) == 5 and search_codes("qqqq") == []
    assert {value for _, value, _ in search_codes("", 100)} >= {"10200004", "39937001"} and len(
        search_codes("", 100)
    ) < 100
    for code in search_codes("lung", 50):
        assert parse_code(":".join(code)) == code
