"""Path templates: their fields, what fits every mask, and filling them in."""

from __future__ import annotations

import re

import pytest

from medsam.data.cards.templates import fill, find_fields, find_wildcard, make_pattern
from medsam.errors import DataError


def test_fields_are_found_with_and_without_a_pattern():
    assert find_fields("a/{case:c[0-9]{2}}_{side}/*.png") == {"case", "side"}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{case}.png", None),
        ("{case}_*.png", None),
        ("{fold:f[12]}/{case}.png", None),
        ("{other}/{case}.png", "the field 'other' is bound by no image"),
        ("{n:[0-9]+}.png", "no field of the image"),
        ("*.png", "no field of the image"),
    ],
)
def test_what_fits_the_masks_of_other_images_is_named(template, words):
    found = find_wildcard(template, {"case"})
    assert found is None if words is None else words in found


def test_pattern_takes_known_fields_as_their_text():
    assert re.fullmatch(make_pattern("{a}-{b:[0-9]+}-{b}.x", {"a": "1."}), "1.-22-22.x")["b"] == "22"
    assert not re.fullmatch(make_pattern("{a}-{b}-{b}", {"a": "1."}), "1x-2-2")


def test_filling_names_a_field_that_is_not_there():
    assert fill("{p}-{kind}", {"p": "1", "kind": "x"}) == "1-x"
    assert fill("{p}-{q}", {"p": "1"}, strict=False) == "1-{q}"
    with pytest.raises(DataError, match="names the field 'q'"):
        fill("{q}", {"p": "1"})
