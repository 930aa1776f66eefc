"""Whole slides as tiles: where they lie, how the border is padded, masks as slides and as outlines."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store, check
from medsam.data.store.tables import read_table

CARD = """
name = "slides"
version = "1"
licence = "CC0"
citation = "nobody"
modality = "pathology"
dimension = 2
published = true
[images]
path = "{slide}.tif"
group = "{slide}"
group_kind = "slide"
form = "slide"
[masks]
path = "masks/{slide}.tif"
[targets]
tumour = 2
"""


@pytest.fixture
def slide(tmp_path):
    """1500 x 1300 pixels: two by two tiles; a target on tile 0 that reaches into tile 1, and one on tile 3."""
    pytest.importorskip("tiffslide")
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 255, (1300, 1500, 3), dtype=np.uint8)
    labels = np.zeros((1300, 1500), np.uint8)
    labels[100:200, 1000:1100] = 2
    labels[1100:1250, 1200:1400] = 2
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(256, 256), photometric="rgb")
    tifffile.imwrite(
        tmp_path / "masks" / "a.tif", np.repeat(labels[..., None], 3, axis=2), tile=(256, 256), photometric="rgb"
    )
    return tmp_path, pixels, labels


def test_slides_become_tiles_padded_with_zero(slide, tmp_path):
    root, pixels, labels = slide
    report = curate([CuratedSource(parse_card(CARD, "t"), root)], tmp_path / "s")
    assert report.clean, read_table(tmp_path / "s" / "excluded.parquet").to_pylist()
    store = Store(tmp_path / "s")
    assert store.catalogue["slice"].to_pylist() == [0, 1, 3]
    assert store.catalogue["area_px"].to_pylist() == [24 * 100, 76 * 100, 150 * 200]
    image, mask = store.pair(2)
    assert image.shape == (1024, 1024, 3)
    np.testing.assert_array_equal(image[: 1300 - 1024, : 1500 - 1024], pixels[1024:, 1024:])
    np.testing.assert_array_equal(mask[: 1300 - 1024, : 1500 - 1024], labels[1024:, 1024:] == 2)
    assert not image[1300 - 1024 :].any()
    assert len(set(store.catalogue["group"].to_pylist())) == 1
    assert check(store) == []


def test_outlines_are_drawn_on_the_tiles_they_touch(slide, tmp_path):
    root, _, _ = slide
    corners = ((1000, 100), (1099, 100), (1099, 199), (1000, 199))
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in corners)
    (root / "a.xml").write_text(
        f"<Annotations><Annotation><Regions><Region><Vertices>{vertices}</Vertices></Region></Regions></Annotation></Annotations>"
    )
    text = CARD.replace(
        'path = "masks/{slide}.tif"', 'path = "{slide}.xml"\nform = "aperio-xml"\nkind = "instance"'
    ).replace("tumour = 2", 'tumour = "any"')
    curate([CuratedSource(parse_card(text, "t"), root)], tmp_path / "s")
    assert Store(tmp_path / "s").catalogue["area_px"].to_pylist() == [2400, 7600]


def test_a_mask_of_another_size_is_a_fault(slide, tmp_path):
    root, _, labels = slide
    tifffile.imwrite(
        root / "masks" / "a.tif", np.repeat(labels[:1200, :1400, None], 3, axis=2), tile=(256, 256), photometric="rgb"
    )
    curate([CuratedSource(parse_card(CARD, "t"), root)], tmp_path / "s")
    assert read_table(tmp_path / "s" / "excluded.parquet")["reason"].to_pylist() == ["mask on another grid"]
