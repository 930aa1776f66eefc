"""The picture of a run: contours and prompts over the slices that were prompted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medsam.errors import OutputError
from medsam.imaging.image import Image, Mask
from medsam.imaging.overlay import draw_overlay, tile_pictures
from medsam.imaging.prompts import Prompt
from medsam.io.pictures.raster import save_picture

MOST_SLICES = 12


def check_picture(path: Path | None) -> None:
    """Refuse a picture that write_picture would refuse.

    Raises:
        OutputError: the suffix is not .png.
    """
    if path is not None and path.suffix.lower() != ".png":
        raise OutputError(f"the picture is to be {path}", expected="a .png file", fix="name it .png")


def write_picture(path: Path, image: Image, mask: Mask, prompts: Sequence[Prompt]) -> None:
    """Draw the prompted slices (at most 12) with their contours, boxes and points into one PNG.

    Raises:
        OutputError: the suffix is not .png, or the disk refused.
    """
    check_picture(path)
    chosen = _slices(prompts, image.grid.shape[0])
    depth = image.grid.shape[0]
    pictures = [
        draw_overlay(
            image.slice_rgb(index),
            mask.labels[index],
            boxes=[b for p in prompts if (b := find_box(p, index)) is not None],
            points=[
                (x, y, sign)
                for p in prompts
                if p.slice in (index, None)
                for (x, y), sign in zip(p.points, p.point_labels, strict=True)
            ],
            colors=mask.colors,
            caption=f"slice {index}" if depth > 1 else "",
        )
        for index in chosen
    ]
    array = pictures[0] if len(pictures) == 1 else tile_pictures(pictures, tile_px=512)
    save_picture(path, array)


def find_box(prompt: Prompt, index: int) -> tuple[float, float, float, float] | None:
    """The prompt's box on a slice, None without one."""
    if prompt.box_3d is not None:
        x0, y0, z0, x1, y1, z1 = prompt.box_3d
        return (x0, y0, x1, y1) if z0 <= index <= z1 else None
    return prompt.box if prompt.slice in (index, None) else None


def _slices(prompts: Sequence[Prompt], depth: int) -> list[int]:
    wanted: set[int] = set()
    for prompt in prompts:
        if prompt.box_3d is not None:
            wanted.update(range(int(prompt.box_3d[2]), int(prompt.box_3d[5]) + 1))
        else:
            wanted.add(prompt.slice or 0)
    ordered = sorted(index for index in wanted if index < depth)
    step = -(-len(ordered) // MOST_SLICES)
    return ordered[:: max(1, step)]
