"""Tables of a store: names that say nothing, files that are whole or as before."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pytest

from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.tables import hash_name, read_table, write_table
from medsam.errors import DataError, InputFileError


def test_no_name_of_an_unpublished_file_reaches_the_store(making, tmp_path):
    tree = making.tree("Meier^Anna-19560312")
    for i, name in enumerate(["Meier^Anna_PID4711_20200131", "Kunz^Otto_PID4712_20200201"]):
        tree.raster(f"images/{name}.png", making.picture(i, channels=3))
        tree.raster(f"masks/{name}.png", making.disc())
    broken = tree.raster("images/Lang^Eva_PID4713.png", making.picture(5, channels=3))
    broken.write_bytes(broken.read_bytes()[:100])
    tree.raster("masks/Lang^Eva_PID4713.png", making.disc())
    tree.raster("images/Graf^Ida_PID4714.png", making.picture(6, channels=3))
    card = making.card_2d().replace("published = true", "published = false")
    report = curate([CuratedSource(parse_card(card, "t"), tree.root)], tmp_path / "s")
    assert report.counts["skin"].summary.cases_kept == 2
    everything = b"".join(str(p).encode() + p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file())
    decoded = json.dumps([read_table(p).to_pylist() for p in (tmp_path / "s").rglob("*.parquet")], default=str)
    for token in ("Meier", "Kunz", "Lang", "Graf", "PID47", "20200131", "19560312"):
        assert token.encode() not in everything
        assert token not in decoded


def test_a_table_comes_back_in_the_columns_asked_for_and_is_not_written_twice(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), path)
    assert read_table(path, columns=["b"]).to_pylist() == [{"b": "x"}, {"b": "y"}]
    assert read_table(path, schema=pa.schema([("a", pa.int8())])).schema.field("a").type == pa.int8()
    before = path.stat().st_mtime_ns
    write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), path)
    assert path.stat().st_mtime_ns == before
    with pytest.raises(InputFileError, match="whole Parquet file"):
        read_table(path, schema=pa.schema([("c", pa.int8())]))
    with pytest.raises(DataError, match="does not exist"):
        read_table(tmp_path / "none.parquet")


def test_names_that_say_nothing_are_hashes_of_their_parts_kept_apart():
    assert hash_name("a", "b", length=8) == hashlib.sha256(b"a\0b").hexdigest()[:8]
    assert hash_name("ab", "c") != hash_name("a", "bc")
