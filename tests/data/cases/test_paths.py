"""Cases of a card: templates find what they say, tables name them, and no mask goes to another image."""

from __future__ import annotations

import pytest
from liver_card import LIVER_CARD

from medsam.data.cards.card import parse_card
from medsam.data.cases.paths import find_cases, forget_listings, match_template
from medsam.errors import DataError, MedsamError


def test_templates_take_fields_from_paths(tmp_path):
    forget_listings()
    for path in ("a/p1/p1_t1.nii", "a/p1/p1_t2.nii", "a/p2/other_t1.nii", "b/deep/er/p3.dcm", "a/p1/readme.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert [f for _, f in match_template(tmp_path, "a/{p}/{p}_{kind:t[12]}.nii", {})] == [
        {"p": "p1", "kind": "t1"},
        {"p": "p1", "kind": "t2"},
    ]
    assert [p for p, _ in match_template(tmp_path, "a/{p}/*_t1.nii", {})] == ["a/p1/p1_t1.nii", "a/p2/other_t1.nii"]
    assert [p for p, _ in match_template(tmp_path, "a/{p}/*_t1.nii", {"p": "p2"})] == ["a/p2/other_t1.nii"]
    assert [p for p, _ in match_template(tmp_path, "b/**/{x}.dcm", {})] == ["b/deep/er/p3.dcm"]
    assert [p for p, _ in match_template(tmp_path, "a/{p}/", {})] == ["a/p1", "a/p2"]


def test_cases_sort_by_number_and_two_of_a_name_are_refused(tmp_path):
    forget_listings()
    for name in ("c10", "c9"):
        (tmp_path / f"{name}.nii.gz").touch()
        (tmp_path / f"{name}_seg.nii.gz").touch()
    card = parse_card(LIVER_CARD.replace('path = "{case}.nii.gz"', 'path = "{case:c[0-9]+}.nii.gz"'), "t")
    assert [case.name for case in find_cases(card, tmp_path)] == ["c9", "c10"]
    twice = parse_card(
        LIVER_CARD.replace('path = "{case}.nii.gz"', 'path = "{case:c}{n}.nii.gz"\ncase = "{case}"'), "t"
    )
    with pytest.raises(DataError, match="several images are the same case;"):
        find_cases(twice, tmp_path)


def test_tables_name_cases_and_groups(tmp_path):
    (tmp_path / "index.csv").write_text("image,mask,who,use\na.png,am.png,p1,yes\nb.png,bm.png,p2,no\n")
    text = LIVER_CARD.replace(
        'path = "{case}.nii.gz"',
        'path = "{image}"\ntable = "index.csv"\ngroup = "{who}"\ncase = "{image}"\nwhere = { use = "yes" }',
    )
    card = parse_card(text.replace("{case}_seg.nii.gz", "{mask}"), "t")
    cases = find_cases(card, tmp_path)
    assert [(c.name, c.group, c.masks[0].files) for c in cases] == [("a.png", "p1", ())]  # am.png is not there
    assert cases[0].masks[0].template == "am.png"


def mask_files(tmp_path, names, card):
    """The mask files of each case of a folder of empty files."""
    forget_listings()
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return [tuple(f for mask in case.masks for f in mask.files) for case in find_cases(parse_card(card, "t"), tmp_path)]


def test_field_with_a_pattern_chooses_the_folder_of_one_mask(tmp_path):
    card = LIVER_CARD.replace("{case}.nii", "{case:c[0-9]}.nii").replace("{case}_seg", "{fold:f[12]}/{case}_seg")
    names = ["c1.nii.gz", "c2.nii.gz", "f1/c1_seg.nii.gz", "f2/c2_seg.nii.gz"]
    assert mask_files(tmp_path, names, card) == [("f1/c1_seg.nii.gz",), ("f2/c2_seg.nii.gz",)]
    with pytest.raises(DataError, match="the field 'fold' has several values for one image"):
        mask_files(tmp_path, ["f2/c1_seg.nii.gz"], card)


def test_star_that_finds_the_masks_of_another_image_is_refused(tmp_path):
    card = LIVER_CARD.replace("{case}.nii", "{case:c[0-9]+}.nii").replace("{case}_seg", "seg/{case}*")
    names = ["c1.nii.gz", "c10.nii.gz", "seg/c1_a.nii.gz", "seg/c1_b.nii.gz", "seg/c10_a.nii.gz"]
    with pytest.raises(DataError, match="1 mask files belong to several images"):
        mask_files(tmp_path, names, card)
    card = card.replace("{case}*", "{case}_*")
    assert mask_files(tmp_path, names, card) == [("seg/c1_a.nii.gz", "seg/c1_b.nii.gz"), ("seg/c10_a.nii.gz",)]


def test_images_of_one_case_may_share_its_mask(tmp_path):
    card = LIVER_CARD.replace("{case}.nii", "{case:c[0-9]}_{kind:t[12]}.nii")
    names = ["c1_t1.nii.gz", "c1_t2.nii.gz", "c1_seg.nii.gz"]
    assert mask_files(tmp_path, names, card) == [("c1_seg.nii.gz",)] * 2


def test_fields_that_a_table_does_not_have_are_named(tmp_path):
    (tmp_path / "index.csv").write_text("image,mask\na.png,am.png\nb.png,bm.png\n")
    text = LIVER_CARD.replace('path = "{case}.nii.gz"', 'path = "{image}"\ntable = "index.csv"')
    with pytest.raises(DataError, match="the field 'case' is bound by no image"):
        find_cases(parse_card(text, "t"), tmp_path)
    text = text.replace("{case}_seg.nii.gz", "{mask}").replace(
        "liver = 1", 'liver = { ids = 1, when = { side = "l" } }'
    )
    with pytest.raises(DataError, match="target liver asks for the field 'side'"):
        find_cases(parse_card(text, "t"), tmp_path)


def test_groups_that_are_no_numbers_are_refused(tmp_path):
    card = LIVER_CARD.replace('{case}.nii.gz"', '{case}.nii.gz"\ngroup = "{case}"\ngroup_ends = [3]', 1)
    with pytest.raises(DataError, match=r"images\.group gives a text"):
        mask_files(tmp_path, ["a.nii.gz"], card)


def test_damaged_table_ends_in_words(tmp_path):
    (tmp_path / "index.csv").write_bytes(b"image,mask\n\xff\xfe,b\n")
    card = LIVER_CARD.replace('path = "{case}.nii.gz"', 'path = "{image}"\ntable = "index.csv"')
    with pytest.raises(MedsamError, match="cannot be read"):
        find_cases(parse_card(card, "t"), tmp_path)
