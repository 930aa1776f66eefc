"""The JSON files of a store: written, read back, and damaged."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest

from medsam.cli.app import run
from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store, check, count_store
from medsam.data.store.records import check_name, read_records, read_report, read_summary, write_report
from medsam.errors import DataError, MedsamError


@pytest.fixture
def store(making, tmp_path):
    """A store of six pictures."""
    curate([CuratedSource(parse_card(making.card_2d(), "t"), making.skin().root)], tmp_path / "s")
    return tmp_path / "s"


def test_records_say_what_was_curated(store):
    [record] = read_records(store)
    assert (record.name, record.complete, record.targets) == ("skin", True, {"lesion": (1,)})
    counts, duplicates = read_report(store)
    assert duplicates == 0
    assert counts["skin"].summary == read_summary(store / "shards" / record.shards[0])
    assert counts["skin"].summary.pairs_kept == 6
    write_report(store, counts, 4)
    assert read_report(store) == (counts, 4)


def test_store_from_before_targets_were_kept_still_opens(store):
    path = store / "datasets" / "skin.json"
    raw = json.loads(path.read_text())
    del raw["targets"]
    path.write_text(json.dumps(raw))
    report = json.loads((store / "report.json").read_text())
    del report["datasets"]["skin"]["unseen"], report["datasets"]["skin"]["unknown_ids"]
    (store / "report.json").write_text(json.dumps(report))
    assert read_records(store)[0].targets == {}
    assert check(Store(store)) == []
    assert count_store(Store(store)).pairs == 6


@pytest.mark.parametrize("name", ["", ".", "..", "../../home", "a/b", "a\\b", "a\0b", ".hidden", None, 3])
def test_name_that_leads_out_of_the_store_is_refused(name):
    with pytest.raises(DataError, match="none of its own"):
        check_name(name)


def test_shards_that_a_damaged_record_names_are_not_removed(making, store, tmp_path):
    (tmp_path / "precious").mkdir()
    path = store / "datasets" / "skin.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "shards": ["../../precious"]}))
    with pytest.raises(DataError):
        curate([CuratedSource(parse_card(making.card_2d(), "t"), tmp_path / "skin")], store)
    assert (tmp_path / "precious").is_dir()


def test_damaged_stores_end_in_words(store, capsys):
    rng = np.random.default_rng()
    files = [p for p in store.rglob("*") if p.is_file() and p.stat().st_size]
    odd = [b"null", b"[]", b"{}", b"7", b"[" * 100_000, b"\xff\xfe", b"", b'{"shape": [-1, 1e9, null]}', b"9" * 9000]
    for n in range(150):
        path = files[int(rng.integers(len(files)))]
        before = path.read_bytes()
        damaged = bytearray(before)
        for _ in range(int(rng.integers(1, 4))):
            damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
        path.write_bytes(odd[n % len(odd)] if n % 3 == 0 else damaged)
        with suppress(MedsamError):
            opened = Store(store)
            count_store(opened)
            check(opened)
            opened.pair(0)
        assert run(["store", "info", str(store)]) in (0, 1)
        path.write_bytes(before)
    assert "Traceback" not in capsys.readouterr().err
    assert check(Store(store)) == []


def test_headers_of_arrays_that_lie_are_refused(store):
    [path] = store.rglob("image_*/zarr.json")
    header = json.loads(path.read_text())
    for change in (
        {"shape": [10**15, 64, 128, 3]},
        {"shape": [6, 10**6, 10**6, 3]},
        {"shape": [6, 64, 64, 3]},
        {"shape": [6, 64, 256, 3]},
        {"shape": [6, 64]},
        {"shape": "6"},
        {"data_type": "object"},
        {"data_type": "float64"},
    ):
        path.write_text(json.dumps({**header, **change}))
        with pytest.raises(MedsamError):
            Store(store).pair(0)
