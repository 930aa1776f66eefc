"""Shards: what they write, and what they leave unsaid."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.shards import hash_mask
from medsam.data.store.tables import read_table


def test_no_name_of_a_file_inside_a_dicom_folder_reaches_the_store(making, tmp_path):
    from pydicom.data import get_testdata_file

    whole = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    tree = making.tree()
    tree.write("p1/ct/Meier^Anna_1.dcm", whole)
    tree.write("p2/ct/Kunz^Otto_1.dcm", whole[:20000])
    for patient in ("p1", "p2"):
        tree.raster(f"{patient}/m.png", making.disc(128, 128, centre=(60, 60), radius=20))
    card = making.card_2d(more='\n[exclude]\n"Lang^Eva*" = "asked to be left out"\n')
    card = card.replace("images/{image}.png", "{image}/ct/").replace("masks/{image}.png", "{image}/m.png")
    card = card.replace("dermoscopy", "CT").replace("published = true", 'window = "soft-tissue"')
    report = curate([CuratedSource(parse_card(card, "t"), tree.root)], tmp_path / "s")
    assert (report.counts["skin"].summary.cases_kept, report.counts["skin"].faults) == (1, 1)
    files = [p for p in (tmp_path / "s").rglob("*") if p.is_file()]
    decoded = json.dumps([read_table(p).to_pylist() for p in files if p.suffix == ".parquet"], default=str)
    for token in ("Meier", "Kunz", "Lang", "CompressedSamples", "20040119"):  # the last two from the header
        assert token not in decoded
        assert all(token.encode() not in p.read_bytes() for p in files)


def test_hash_of_a_mask_is_of_its_size_its_box_and_the_pixels_inside():
    layer = np.array([[0, 2, 2], [0, 2, 1]], np.uint16)
    wanted = hashlib.sha256(b"2,3,1,0,2,1," + bytes([1, 1, 1, 0])).hexdigest()
    assert hash_mask(layer, 2, (1, 0, 2, 1)) == wanted


def test_sides_of_planes_are_padded_to_64_and_layers_take_the_fewest_bits(nested_store):
    rows = nested_store.catalogue.select(["image_array", "mask_array", "mask_value"]).to_pylist()
    assert {row["image_array"] for row in rows} == {"image_64x128x3_u1"}
    assert {row["mask_array"] for row in rows} == {"mask_64x128_u1"}
    assert {row["mask_value"] for row in rows} == {1}  # cup and disc lie in layers of their own
