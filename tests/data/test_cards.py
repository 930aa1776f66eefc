"""Cards: every mistake is named; templates find what they say."""

from __future__ import annotations

import pytest

from medsam.data.cards import load_card, parse_card, shipped
from medsam.data.layout import fill, find_cases, forget_listings, matches
from medsam.errors import DataError

GOOD = """
name = "x"
version = "1"
licence = "CC0"
citation = "nobody"
modality = "MR"
dimension = 3
[images]
path = "{case}.nii.gz"
[masks]
path = "{case}_seg.nii.gz"
[targets]
liver = 1
kidney = { ids = [2, 3], whole = true }
"""


def test_a_good_card_is_read_whole():
    card = parse_card(GOOD, "t")
    assert [(t.name, t.ids, t.whole) for t in card.targets] == [("liver", (1,), False), ("kidney", (2, 3), True)]
    assert card.group_space == "x"
    assert not card.published


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "x"', "", "name is None"),
        ('licence = "CC0"', 'licence = ""', "licence is ''"),
        ('modality = "MR"', 'modality = "telepathy"', "one of CT, MR"),
        ("dimension = 3", "dimension = 4", "dimension is 4"),
        ("dimension = 3", 'dimension = 3\nplane = "tilted"', "axial, coronal, sagittal, stored"),
        ("dimension = 3", 'dimension = 3\nwindow = "lung"', "windows for CT only"),
        ("dimension = 3", "dimension = 3\ncolour = 1", "unknown field 'colour'"),
        ("liver = 1", 'liver = "one"', "targets.liver"),
        ("liver = 1", "liver = -1", "whole numbers from 0"),
        ("liver = 1\n", "liver = { ids = 1, wheel = true }\n", "unknown field 'wheel'"),
        ('path = "{case}_seg.nii.gz"', "", "no mask file"),
        ('path = "{case}_seg.nii.gz"', 'path = "../{case}"', "below the root"),
        ("[targets]\nliver = 1\nkidney = { ids = [2, 3], whole = true }", "[targets]", r"\[targets\] is empty"),
        ("[images]", "[images", "not TOML"),
    ],
)
def test_a_mistake_in_a_card_is_named(old, new, message):
    with pytest.raises(DataError, match=message):
        parse_card(GOOD.replace(old, new), "t")


def test_unknown_cards_are_refused_with_a_suggestion():
    with pytest.raises(DataError, match="shared-ct-liver"):
        load_card("shared-xx")
    with pytest.raises(DataError, match="does not exist"):
        load_card("nowhere.toml")


def test_every_card_of_the_package_is_valid_and_says_where_it_comes_from():
    for name in shipped():
        card = load_card(name)
        assert card.name == name
        assert card.licence
        assert len(card.citation) > 10


def test_templates_take_fields_from_paths(tmp_path):
    forget_listings()
    for path in ("a/p1/p1_t1.nii", "a/p1/p1_t2.nii", "a/p2/other_t1.nii", "b/deep/er/p3.dcm", "a/p1/readme.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert [f for _, f in matches(tmp_path, "a/{p}/{p}_{kind:t[12]}.nii", {})] == [
        {"p": "p1", "kind": "t1"},
        {"p": "p1", "kind": "t2"},
    ]
    assert [p for p, _ in matches(tmp_path, "a/{p}/*_t1.nii", {})] == ["a/p1/p1_t1.nii", "a/p2/other_t1.nii"]
    assert [p for p, _ in matches(tmp_path, "a/{p}/*_t1.nii", {"p": "p2"})] == ["a/p2/other_t1.nii"]
    assert [p for p, _ in matches(tmp_path, "b/**/{x}.dcm", {})] == ["b/deep/er/p3.dcm"]
    assert [p for p, _ in matches(tmp_path, "a/{p}/", {})] == ["a/p1", "a/p2"]
    assert fill("{p}-{kind}", {"p": "1", "kind": "x"}) == "1-x"
    with pytest.raises(DataError, match="names the field 'q'"):
        fill("{q}", {"p": "1"})


def test_cases_sort_by_number_and_two_of_a_name_are_refused(tmp_path):
    forget_listings()
    for name in ("c10", "c9"):
        (tmp_path / f"{name}.nii.gz").touch()
        (tmp_path / f"{name}_seg.nii.gz").touch()
    card = parse_card(GOOD.replace('path = "{case}.nii.gz"', 'path = "{case:c[0-9]+}.nii.gz"'), "t")
    assert [case.name for case in find_cases(card, tmp_path)] == ["c9", "c10"]
    twice = parse_card(GOOD.replace('path = "{case}.nii.gz"', 'path = "{case:c}{n}.nii.gz"\ncase = "{case}"'), "t")
    with pytest.raises(DataError, match="both case 'c'"):
        find_cases(twice, tmp_path)


def test_tables_name_cases_and_groups(tmp_path):
    (tmp_path / "index.csv").write_text("image,mask,who,use\na.png,am.png,p1,yes\nb.png,bm.png,p2,no\n")
    text = GOOD.replace(
        'path = "{case}.nii.gz"',
        'path = "{image}"\ntable = "index.csv"\ngroup = "{who}"\ncase = "{image}"\nwhere = { use = "yes" }',
    )
    card = parse_card(text.replace("{case}_seg.nii.gz", "{mask}"), "t")
    cases = find_cases(card, tmp_path)
    assert [(c.name, c.group, c.masks[0].files) for c in cases] == [("a.png", "p1", ())]  # am.png is not there
    assert cases[0].masks[0].template == "am.png"
