"""The pictures of a report's cases, read again from where a run found its images and from the masks that it kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError, MedsamError
from medsam.evaluation.comparators import load_masks
from medsam.evaluation.evaluate import EvaluationProtocol, PromptedPicture, prompt_picture
from medsam.evaluation.index import IndexedPicture
from medsam.evaluation.measure import Score
from medsam.evaluation.pictures import draw_example
from medsam.evaluation.report import RECORD
from medsam.evaluation.stored import StoredPicture
from medsam.evaluation.volumes import prompt_slice, read_volume, split_slice
from medsam.io.pictures.raster import save_picture
from medsam.jobs.evaluate import SOURCES, list_pictures
from medsam.jobs.evaluate_shards import locate_mask


class CasePictures:
    """Draws cases of some runs.

    Args:
        runs: Folders of medsam evaluate.
        folder: Where pictures go.
    """

    def __init__(self, runs: Sequence[Path], folder: Path) -> None:
        self.folder = folder
        self.missing: set[tuple[str, str, int, str]] = set()
        self._runs = runs
        self._places: dict[tuple[str, str], tuple[IndexedPicture | StoredPicture, EvaluationProtocol]] = {}
        for run in runs:
            try:
                protocol, rows = _read_sources(run)
            except MedsamError:
                continue  # its cases are counted as missing
            self._places |= {(row.dataset, row.sample): (row, protocol) for row in rows}
        self._prompted = lru_cache(maxsize=2)(self._read)

    def draw(self, score: Score, *, line_share: float | None = None) -> NDArray[np.uint8] | None:
        """Draw a case, (H, W, 3) uint8; None where its image is not there any more, which is counted."""
        try:
            picture = self._prompted(score.dataset, score.sample)
            targets = picture.targets
            place = list(targets.masks).index(score.target)
        except (MedsamError, ValueError):
            self.missing.add((score.dataset, score.sample, score.target, score.method))
            return None
        boxes = [] if targets.boxes_N4 is None else [targets.boxes_N4[place].tolist()]
        found = [masks_NHW[place] for masks_NHW in self._masks(score) if place < len(masks_NHW)]
        return draw_example(picture.slice_rgb, [targets.masks[score.target]], found, boxes=boxes, line_share=line_share)

    def save(self, score: Score) -> str | None:
        """Write the picture of a case and give its path from the report; None where there is none."""
        drawn = self.draw(score)
        if drawn is None:
            return None
        named = "/".join((score.dataset, score.sample, str(score.target), score.method))
        path = self.folder / f"{sha256(named.encode()).hexdigest()[:16]}.png"
        save_picture(path, drawn)
        return f"{self.folder.name}/{path.name}"

    def _read(self, dataset: str, sample: str) -> PromptedPicture:
        lost = DataError("the image of a case is not there", expected="it where it was", fix="put it back")
        slice_ = split_slice(sample)
        if (dataset, sample) in self._places:
            row, protocol = self._places[dataset, sample]
            picture = prompt_picture(row, protocol)
        elif slice_ is not None and (dataset, slice_[0]) in self._places:
            row, protocol = self._places[dataset, slice_[0]]
            once = replace(protocol, prompts=protocol.prompts[:1])
            whole = read_volume(row) if isinstance(row, IndexedPicture) else None
            picture = next(iter(prompt_slice(whole, slice_[1], once)), None) if whole is not None else None
        else:
            picture = None
        if picture is None:
            raise lost
        return picture

    def _masks(self, score: Score) -> list[NDArray[np.bool_]]:
        """The masks of the model on the picture of a case; none where it failed or none were kept."""
        paths = [locate_mask(run, score.method, score.dataset, score.sample) for run in self._runs]
        return [] if score.fault else [load_masks(path) for path in paths if path.is_file()][:1]


def _read_sources(run: Path) -> tuple[EvaluationProtocol, list[IndexedPicture | StoredPicture]]:
    try:
        protocol = EvaluationProtocol.from_record(json.loads((run / RECORD).read_text(encoding="utf-8"))["protocol"])
        sources = json.loads((run / SOURCES).read_text(encoding="utf-8"))
        folders, store = [Path(folder) for folder in sources["folders"]], sources["store"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{run} does not say where its images lie", expected=SOURCES, fix="evaluate again") from None
    return protocol, list_pictures(folders, None if store is None else Path(store), protocol)
