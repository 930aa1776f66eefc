"""Masks with palettes: indices are labels, unless a person sees object and background the other way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from small_pictures import saved

import medsam
from medsam.errors import InputFileError
from medsam.io.pictures.palettes import find_used, read_palette_labels

INDICES = np.array([[0, 1, 1, 0, 0]], np.uint8)
BLACK, WHITE, RED, BLUE, YELLOW, PURPLE = (0,) * 3, (255,) * 3, (255, 0, 0), (0, 0, 255), (253, 231, 37), (68, 1, 84)


def picture(palette: list[tuple[int, int, int]], indices: np.ndarray = INDICES) -> Picture.Image:
    made = Picture.fromarray(indices, mode="P")
    made.putpalette([value for color in palette for value in color])
    return made


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize(
    ("palette", "labels"),
    [
        ([BLACK, WHITE], [0, 1, 1, 0, 0]),
        ([WHITE, BLACK], [1, 0, 0, 1, 1]),  # a person sees white on black
        ([RED, BLACK], [1, 0, 0, 1, 1]),
        ([BLACK, RED], [0, 1, 1, 0, 0]),
        ([WHITE, RED], [0, 1, 1, 0, 0]),  # red on white paper
        ([PURPLE, YELLOW], [0, 1, 1, 0, 0]),
    ],
)
def test_two_colours_are_read_as_a_person_sees_them(
    tmp_path: Path, suffix: str, palette: list[tuple[int, int, int]], labels: list[int]
) -> None:
    assert medsam.read_mask(saved(tmp_path / f"a{suffix}", picture(palette))).labels[0, 0].tolist() == labels


@pytest.mark.parametrize("palette", [[(200,) * 3, (50,) * 3], [YELLOW, PURPLE], [WHITE, BLACK, RED]])
def test_what_can_be_read_both_ways_is_refused(tmp_path: Path, palette: list[tuple[int, int, int]]) -> None:
    indices = INDICES.copy()
    indices[0, 4] = len(palette) - 1
    with pytest.raises(InputFileError, match="taken for each other"):
        medsam.read_mask(saved(tmp_path / "a.png", picture(palette, indices)))


def test_a_full_and_an_empty_mask_keep_the_rule_of_their_palette(tmp_path: Path) -> None:
    for index, label in ((0, 1), (1, 0)):
        path = saved(tmp_path / "a.png", picture([WHITE, BLACK], np.full((2, 3), index, np.uint8)))
        assert np.unique(medsam.read_mask(path).labels).tolist() == [label]
    colours = [WHITE, RED, BLUE, *[(i, 9, 9) for i in range(3, 256)]]
    assert medsam.read_mask(saved(tmp_path / "b.png", picture(colours, np.zeros((2, 3), np.uint8)))).ids == ()


def test_an_inverted_ramp_shows_labels_and_only_black_and_white_is_unclear(tmp_path: Path) -> None:
    ramp = [(255 - i,) * 3 for i in range(256)]
    labels = np.array([[0, 1, 2, 254]], np.uint8)
    assert np.array_equal(medsam.read_mask(saved(tmp_path / "a.png", picture(ramp, labels))).labels[0], labels)
    with pytest.raises(InputFileError, match="index 0"):
        medsam.read_mask(saved(tmp_path / "b.png", picture(ramp, np.array([[0, 255]], np.uint8))))


def test_a_grey_ramp_is_no_palette(tmp_path: Path) -> None:
    ramp = [(i,) * 3 for i in range(256)]
    path = saved(tmp_path / "a.png", picture(ramp, np.array([[0, 255]], np.uint8)))
    assert medsam.read_mask(path).labels[0].tolist() == [[0, 1]]


def test_a_transparent_background_is_black(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", picture([WHITE, RED, BLUE]), transparency=0)
    assert medsam.read_mask(path).labels[0].tolist() == INDICES.tolist()


def test_the_tables_of_imagej_are_a_matter_of_taste() -> None:
    colors = np.array([WHITE, BLACK, RED], np.uint8)
    indices = np.array([[[0, 1, 2]]], np.uint8)
    labels = read_palette_labels(indices, colors, Path("a.tif"), from_imagej=True)
    assert np.array_equal(labels, indices)


def test_used_values_are_found_without_sorting() -> None:
    assert find_used(np.array([[[7, 0, 7]]], np.uint16)).tolist() == [0, 7]
