"""Settings of a store: what is refused, and what is read back."""

from __future__ import annotations

import json

import pytest

from medsam.data.store.settings import FORMAT, CurateSettings, load_settings
from medsam.errors import DataError

WHOLE = {"format": FORMAT, "seed": 3, "fractions": [0.5, 0.25, 0.25], "bits": 16, "cases_per_shard": 7}


def test_settings_are_read_back(tmp_path):
    (tmp_path / "store.json").write_text(json.dumps(WHOLE))
    assert load_settings(tmp_path) == CurateSettings(3, (0.5, 0.25, 0.25), 16, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({**WHOLE, "fractions": [10**400] * 3}),
        *(json.dumps({**WHOLE, name: None}) for name in WHOLE if name != "format"),
    ],
)
def test_damaged_settings_are_no_store(tmp_path, text):
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(DataError, match="is not a store"):
        load_settings(tmp_path)


def test_another_format_is_named(tmp_path):
    (tmp_path / "store.json").write_text(json.dumps({**WHOLE, "format": 9}))
    with pytest.raises(DataError, match="another format"):
        load_settings(tmp_path)


@pytest.mark.parametrize("change", [{"bits": 7}, {"fractions": [1, 1, 1]}, {"fractions": [1]}])
def test_impossible_settings_are_refused(tmp_path, change):
    (tmp_path / "store.json").write_text(json.dumps({**WHOLE, **change}))
    with pytest.raises(DataError):
        load_settings(tmp_path)
