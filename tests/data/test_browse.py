"""Pictures of a store: counts as bars, and pairs with contours."""

from __future__ import annotations

import numpy as np
from PIL import Image as Picture

from medsam.data.browse import draw_contact_sheet, draw_counts
from medsam.data.store.reading import count_store


def test_the_figure_and_the_sheet_show_what_is_there(mixed_store, tmp_path):
    draw_counts(count_store(mixed_store), tmp_path / "counts.png")
    assert Picture.open(tmp_path / "counts.png").width > 800
    assert draw_contact_sheet(mixed_store, tmp_path / "sheet.png", count=8, columns=4) == 8
    sheet = np.asarray(Picture.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    green = (sheet[..., 1] > 180) & (sheet[..., 0] < 90) & (sheet[..., 2] < 140)
    assert green.sum() > 200  # contours
    assert draw_contact_sheet(mixed_store, tmp_path / "few.png", count=50, modality="CT") == 8
