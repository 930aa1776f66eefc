"""Whole slides: a synthetic pyramid whose every pixel says where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slide_phantom import scene, write_slide

from medsam.errors import InputFileError, MedsamError, PromptError
from medsam.io.formats import ReadOptions
from medsam.io.pictures.slides import Slide, iter_tiles, read_image


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "s.tif", scene(700, 1000))


def test_levels_and_spacing(slide_path):
    with Slide(slide_path) as slide:
        assert [(one.width, one.height) for one in slide.levels] == [(1000, 700), (500, 350), (250, 175)]
        assert [one.downsample for one in slide.levels] == pytest.approx([1, 2, 4])
        assert slide.spacing_mm == pytest.approx((0.00025, 0.00025))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_any_region_of_any_level_is_in_its_place_and_0_outside(slide_path, level):
    picture = scene(700, 1000)[:: 2**level, :: 2**level]
    padded = np.pad(picture, ((50, 50), (50, 50), (0, 0)))
    rng = np.random.default_rng(level)
    with Slide(slide_path) as slide:
        for _ in range(20):
            x, y = rng.integers(-50, picture.shape[1] - 10), rng.integers(-50, picture.shape[0] - 10)
            width, height = rng.integers(1, 60, 2)
            read = slide.read(int(x), int(y), int(width), int(height), level=level)
            assert read.shape == (height, width, 3)
            there = padded[y + 50 : y + 50 + height, x + 50 : x + 50 + width]
            assert np.array_equal(read[: len(there), : there.shape[1]], there)


def test_tiles_cover_the_slide_once_and_are_padded_with_0(slide_path):
    tiles = list(iter_tiles(slide_path, 256))
    assert len(tiles) == 3 * 4
    rebuilt = np.zeros((768, 1024, 3), dtype=np.uint8)
    for tile in tiles:
        assert tile.values.shape == (256, 256, 3)
        rebuilt[tile.y : tile.y + 256, tile.x : tile.x + 256] = tile.values
    assert np.array_equal(rebuilt[:700, :1000], scene(700, 1000))
    assert not rebuilt[700:].any()
    assert not rebuilt[:, 1000:].any()
    assert (tiles[-1].width, tiles[-1].height) == (1000 - 768, 700 - 512)


def test_a_tile_is_1024_wide_as_in_the_paper(slide_path):
    (tile,) = iter_tiles(slide_path)
    assert tile.values.shape == (1024, 1024, 3)


def test_a_square_is_shrunk_from_the_level_that_is_just_fine_enough(tmp_path):
    y, x = np.mgrid[:800, :800]
    smooth = np.stack([x // 4, y // 4, np.zeros_like(x)], axis=2).astype(np.uint8)
    path = write_slide(tmp_path / "s.tif", smooth, levels=1)  # no pyramid: averaged while reading
    with Slide(path) as slide:
        small = slide.read_scaled(200, 100, 600, 100)
    expected_x = (200 + (np.arange(100) + 0.5) * 6 - 0.5) / 4
    assert np.abs(small[50, :, 0] - expected_x).max() < 1.5
    assert np.abs(small[:, 50, 1] - (expected_x - 25)).max() < 1.5


def test_a_small_slide_is_one_picture_with_its_spacing(slide_path):
    image = read_image(slide_path, ReadOptions())
    assert image.values.shape == (1, 700, 1000, 3)
    assert image.grid.spacing_mm == pytest.approx((1, 0.00025, 0.00025))
    with pytest.raises(InputFileError, match="iter_tiles"):
        read_image(slide_path, ReadOptions(max_bytes=1000))


def test_what_is_no_slide_is_refused_in_words(slide_path, tmp_path):
    with pytest.raises(InputFileError, match="does not exist"):
        Slide(tmp_path / "none.svs")
    (tmp_path / "text.svs").write_text("hello")
    with pytest.raises(InputFileError, match="no whole slide"):
        Slide(tmp_path / "text.svs")
    with Slide(slide_path) as slide, pytest.raises(PromptError, match="0 to 2"):
        slide.read(0, 0, 1, 1, level=3)
    with pytest.raises(PromptError, match="tile size"):
        next(iter_tiles(slide_path, 0))
    (tmp_path / "cut.tif").write_bytes(slide_path.read_bytes()[:40_000])
    with pytest.raises(MedsamError), Slide(tmp_path / "cut.tif") as slide:
        slide.read(0, 0, 1000, 700)
