"""Cards: every mistake is named, and damage ends in words."""

from __future__ import annotations

import os
from contextlib import suppress

import numpy as np
import pytest
from liver_card import LIVER_CARD

from medsam.data.cards.card import find_shipped_cards, load_card, parse_card
from medsam.data.cases.paths import find_cases
from medsam.errors import DataError, MedsamError


def test_a_good_card_is_read_whole():
    card = parse_card(LIVER_CARD, "t")
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
        ("{case}_seg", "{patient}_seg", "the field 'patient' is bound by no image"),
        ("{case}_seg", "masks/*", "no field of the image occurs"),
        ("{case}_seg", "{n:[0-9]+}", "no field of the image occurs"),
        ("{case}_seg", "seg", "no field of the image occurs"),
        ("kidney = { ids", 'kidney = { path = "{kidney}.nii.gz", ids', "the field 'kidney' is bound by no image"),
        ("{case}_seg", "{case:[0-9}_seg", "a pattern that cannot be read"),
        ("{case}_seg", "\\u0000{case}", "null character"),
    ],
)
def test_a_mistake_in_a_card_is_named(old, new, message):
    with pytest.raises(DataError, match=message):
        parse_card(LIVER_CARD.replace(old, new), "t")


def test_unknown_cards_are_refused_with_a_suggestion():
    with pytest.raises(DataError, match="shared-ct-liver"):
        load_card("shared-xx")
    with pytest.raises(DataError, match="does not exist"):
        load_card("nowhere.toml")


def test_every_card_of_the_package_is_valid_and_says_where_it_comes_from():
    for name in find_shipped_cards():
        card = load_card(name)
        assert card.name == name
        assert card.licence
        assert len(card.citation) > 10


def test_a_byte_order_mark_before_a_card_is_passed_over(tmp_path):
    name, entry = next(iter(find_shipped_cards().items()))
    (tmp_path / "card.toml").write_bytes(b"\xef\xbb\xbf" + entry.read_bytes())
    assert load_card(tmp_path / "card.toml") == load_card(name)


def test_damaged_cards_end_in_words(tmp_path):
    rng = np.random.default_rng()
    texts = [entry.read_bytes() for entry in find_shipped_cards().values()]
    path = tmp_path / "card.toml"
    for _ in range(400):
        text = bytearray(texts[rng.integers(len(texts))])
        for _ in range(rng.integers(1, 6)):
            place = int(rng.integers(len(text)))
            change = rng.integers(3)
            if change == 0:
                text[place] = rng.integers(256)
            elif change == 1:
                del text[place : place + int(rng.integers(1, 40))]
            else:
                text[place:place] = text[place : place + 30] * int(rng.integers(1, 4))
        path.write_bytes(text)
        with suppress(MedsamError):
            find_cases(load_card(path), tmp_path)


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5000, "x = 1e999999", "x = " + "9" * 5000, "\xff", "name = 1979-13-45"]
)
def test_odd_toml_ends_in_words(tmp_path, text):
    (tmp_path / "card.toml").write_text(text, encoding="latin-1")
    with pytest.raises(MedsamError):
        load_card(tmp_path / "card.toml")


def test_a_pipe_and_a_folder_in_place_of_a_card_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name, words in (("pipe", "is a pipe, socket or device"), ("folder", "is a folder"), ("none", "does not exist")):
        with pytest.raises(MedsamError, match=rf"{name}\.toml {words}"):
            load_card(tmp_path / f"{name}.toml")
