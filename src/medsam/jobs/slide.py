"""Boxes on a whole slide: read only around them, polygons out in slide coordinates."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medsam.errors import MedsamError, OutputError, PromptError
from medsam.imaging.prompts import Prompt
from medsam.io.suffixes import find_format
from medsam.jobs.record import MaskRun

if TYPE_CHECKING:
    from medsam.inference.predictor import Predictor


def is_slide(source: Path, output: Path) -> bool:
    """Whether boxes are to be segmented window by window: a slide file, or a pyramidal TIFF that is to become GeoJSON."""
    row = find_format(source)
    if row is not None and row.name == "slide":
        return True
    if row is None or row.name != "tiff" or output.suffix.lower() != ".geojson":
        return False
    from medsam.io.pictures.slides import Slide

    try:
        with Slide(source) as slide:
            return len(slide.levels) > 1
    except MedsamError:
        return False


def check_slide(output: Path, prompts: Sequence[Prompt]) -> None:
    """Refuse what a slide cannot be asked.

    Raises:
        OutputError: the output is no GeoJSON.
        PromptError: a point or a 3D box.
    """
    if output.suffix.lower() != ".geojson":
        raise OutputError(
            f"{output} for a whole slide",
            expected="GeoJSON, whose polygons lie in the slide's own pixels",
            fix="name the output .geojson",
        )
    if any(prompt.box is None or prompt.points for prompt in prompts):
        raise PromptError(
            "points or a 3D box on a whole slide", expected="boxes x0,y0,x1,y1 in pixels of level 0", fix="draw boxes"
        )


def segment_slide_file(predictor: Predictor, source: Path, output: Path, prompts: Sequence[Prompt]) -> MaskRun:
    """Segment the boxes of one slide at the detail each box needs, and write the polygons.

    Raises:
        MedsamError: as check_slide, an unreadable slide, or a box outside it.
    """
    from medsam.inference.slides import segment_slide
    from medsam.io.outlines.geojson import write_shapes

    check_slide(output, prompts)
    start = time.perf_counter()
    boxes = [prompt.box for prompt in prompts]
    named = any(prompt.name for prompt in prompts)
    names = [prompt.name or f"Segment {prompt.label}" for prompt in prompts] if named else None
    shapes = segment_slide(predictor, source, boxes, names=names, window_px=predictor.manifest.frame_size)
    write_shapes(shapes, output)
    seconds = {"total": time.perf_counter() - start}
    return MaskRun(str(source), output, tuple(prompts), (None,) * len(prompts), seconds, {})
