"""Boxes on a slide: polygons in slide pixels, from one window or stitched, with a segmenter whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from slide_phantom import write_slide

from medsam.errors import PromptError
from medsam.imaging.image import Grid
from medsam.inference.slides import segment_slide
from medsam.io.outlines.contours import fill, measure_area
from medsam.io.outlines.geojson import read_segments, write_shapes
from medsam.io.pictures.slides import Slide


@dataclass(frozen=True)
class Answer:
    logits_NHW: np.ndarray
    scores_N: np.ndarray


class Brightness:
    """The simplest segmenter there is: bright pixels within the box."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def embed(self, slice_rgb: np.ndarray) -> np.ndarray:
        self.shapes.append(slice_rgb.shape)
        return slice_rgb.astype(float).mean(axis=2)

    def decode_parts(self, embedding: np.ndarray, *, boxes: object):
        for x0, y0, x1, y1 in np.asarray(boxes):
            y, x = np.mgrid[: embedding.shape[0], : embedding.shape[1]] + 0.5
            within = (x >= x0 - 1) & (x <= x1 + 1) & (y >= y0 - 1) & (y <= y1 + 1)
            yield Answer(np.where(within, embedding - 127.5, -100)[None] / 20, np.array([0.9]))


def bright_slide(path: Path, shapes, size=(900, 1100), levels: int = 3) -> tuple[Path, np.ndarray]:
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    truth = np.zeros(size, dtype=int)
    for label, (cx, cy, rx, ry) in enumerate(shapes, start=1):
        truth[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = label
    picture = np.where(truth > 0, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2)
    return write_slide(path, picture, levels=levels), truth


def filled(shapes, size) -> np.ndarray:
    return fill([ring for shape in shapes for ring in shape.polygon.rings], *size)


def test_small_boxes_share_windows_and_give_exact_polygons(tmp_path):
    circles = [(100, 80, 20, 15), (160, 90, 18, 22), (1060, 860, 25, 20)]
    path, truth = bright_slide(tmp_path / "s.tif", circles)
    segmenter = Brightness()
    boxes = [(cx - rx, cy - ry, cx + rx, cy + ry) for cx, cy, rx, ry in circles]
    shapes = segment_slide(segmenter, path, boxes, window_px=256)
    assert segmenter.shapes == [(256, 256, 3)] * 2
    assert [shape.segment.label for shape in shapes] == [1, 2, 3]
    assert shapes[0].score == pytest.approx(0.9)
    for label in (1, 2, 3):
        assert np.array_equal(filled([s for s in shapes if s.segment.label == label], truth.shape), truth == label)
    write_shapes(shapes, tmp_path / "m.geojson")
    assert np.array_equal(read_segments(tmp_path / "m.geojson", Grid((1, *truth.shape))).labels[0], truth)


def test_a_large_box_is_seen_whole_at_a_coarser_level(tmp_path):
    path, truth = bright_slide(tmp_path / "s.tif", [(500, 450, 300, 250)])
    segmenter = Brightness()
    shapes = segment_slide(segmenter, path, (200, 200, 800, 700), names=["tumor"], window_px=256)
    assert segmenter.shapes == [(256, 256, 3)]
    assert shapes[0].segment.name == "tumor"
    drawn = filled(shapes, truth.shape)
    assert 2 * (drawn & (truth > 0)).sum() / (drawn.sum() + (truth > 0).sum()) > 0.98


@pytest.mark.parametrize("levels", [1, 3])
def test_a_large_box_at_full_detail_is_stitched_without_seams(tmp_path, levels):
    path, truth = bright_slide(tmp_path / "s.tif", [(500, 450, 300, 250)], levels=levels)
    segmenter = Brightness()
    shapes = segment_slide(segmenter, path, (200, 200, 800, 700), level=0, window_px=256)
    drawn = filled(shapes, truth.shape)
    wrong = drawn != (truth > 0)
    assert wrong.sum() < 0.002 * truth.sum()
    assert len(shapes) == 1  # no cracks
    assert len(shapes[0].polygon.holes) == 0
    assert set(segmenter.shapes) == {(256, 256, 3)}


def test_windows_inside_and_outside_the_coarse_mask_are_not_asked(tmp_path):
    path, _ = bright_slide(tmp_path / "s.tif", [(500, 450, 400, 400)])
    segmenter = Brightness()
    segment_slide(segmenter, path, (100, 50, 900, 850), level=0, window_px=128)
    assert len(segmenter.shapes) < 0.6 * (900 / 64) ** 2


def test_boxes_at_the_slides_edge_give_nothing_outside_it(tmp_path):
    path, truth = bright_slide(tmp_path / "s.tif", [(1100, 900, 60, 50)])
    shapes = segment_slide(Brightness(), path, (1040, 850, 1100, 900), window_px=256)
    outer = shapes[0].polygon.outer
    assert outer.max(axis=0).tolist() == [1100, 900]
    assert measure_area(outer) == (truth > 0).sum()


def test_bad_prompts_are_refused_in_words(tmp_path):
    path, _ = bright_slide(tmp_path / "s.tif", [(100, 100, 20, 20)], size=(300, 300))
    with pytest.raises(PromptError, match="leaves the image of 300 x 300"):
        segment_slide(Brightness(), path, (200, 200, 400, 300))
    with pytest.raises(PromptError, match="level is 7"):
        segment_slide(Brightness(), path, (80, 80, 120, 120), level=7)
    with pytest.raises(PromptError, match="2 names for 1 boxes"):
        segment_slide(Brightness(), path, (80, 80, 120, 120), names=["a", "b"])
    with Slide(path) as slide:  # an open slide stays open
        assert segment_slide(Brightness(), slide, (200, 200, 220, 220)) == []
        assert slide.read(0, 0, 2, 2).shape == (2, 2, 3)
