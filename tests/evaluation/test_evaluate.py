"""Pictures of a folder measured: which targets, which boxes, and that neither depends on what else is measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.errors import DataError
from medsam.evaluation.comparators import compare_segmenter, measure_comparator
from medsam.evaluation.evaluate import EvaluationProtocol, prompt_picture
from medsam.evaluation.index import read_index


class BoxFiller:
    """A segmenter without a network that fills boxes."""

    def embed(self, slice_rgb, /):
        return slice_rgb.shape[:2]

    def decode(self, embedding, /, *, boxes=None, points=None, point_labels=None):
        masks = np.zeros((len(boxes), *embedding), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, np.round(boxes).astype(int).tolist(), strict=True):
            mask[y0 : y1 + 1, x0 : x1 + 1] = True
        return masks, np.ones(len(boxes), np.float32)


@pytest.fixture
def rows(tmp_path):
    """Two pictures of six squares and one without any."""
    root = tmp_path / "us_squares"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    lines = ["image,mask,group,mask_kind,split"]
    for name in ("a", "b", "none"):
        labels = np.zeros((60, 90), np.uint8)
        for i in range(6 if name != "none" else 0):
            top, left = 5 + 30 * (i // 3), 5 + 30 * (i % 3)
            labels[top : top + 15, left : left + 15] = 1
        Picture.fromarray(np.full((60, 90), 80, np.uint8)).save(root / f"images/{name}.png")
        Picture.fromarray(labels).save(root / f"masks/{name}.png")
        lines.append(f"images/{name}.png,masks/{name}.png,{name},labels,val")
    (root / "index.csv").write_text("\n".join(lines) + "\n")
    return read_index(root, "val")


def measured(row, protocol):
    """Scores of the box filler on a picture, without their times; none where it has no target."""
    picture = prompt_picture(row, protocol)
    if picture is None:
        return []
    scores, _ = measure_comparator(compare_segmenter("filler", "", BoxFiller()), picture)
    return [replace(score, seconds=0.0, memory_mb=0.0) for score in scores]


def test_tight_boxes_find_squares_and_a_picture_without_targets_gives_no_row(rows):
    found = [measured(row, EvaluationProtocol(noise_px=0)) for row in rows]
    assert [len(scores) for scores in found] == [6, 6, 0]
    assert {(s.dice, s.hd95, s.iou, s.volume_error, s.quality) for scores in found for s in scores} == {(1, 0, 1, 0, 1)}
    assert {(s.method, s.name, s.fault) for scores in found for s in scores} == {("filler", "label 1", "")}


def test_rows_are_the_same_in_any_order_and_subset_and_differ_by_seed(rows):
    protocol = EvaluationProtocol(noise_px=60)
    forward = [measured(row, protocol) for row in rows]
    assert forward == [measured(row, protocol) for row in rows[::-1]][::-1]
    assert forward[0] != measured(rows[0], replace(protocol, seed=1))


def test_more_targets_than_asked_for_are_chosen_by_seed_and_keep_their_numbers(rows):
    chosen = [
        tuple(score.target for score in measured(rows[0], EvaluationProtocol(max_targets=2, seed=s))) for s in range(6)
    ]
    assert all(len(numbers) == 2 and numbers[0] < numbers[1] for numbers in chosen)
    assert len(set(chosen)) > 2
    assert len(measured(rows[0], EvaluationProtocol(max_targets=None))) == 6
    assert measured(rows[0], EvaluationProtocol(min_pixels=226)) == []


def test_targets_are_named_by_the_file_of_labels(rows):
    folder = rows[0].image.parents[1]
    (folder / "labels.csv").write_text("label,name\n1,square\n")
    [first, *_] = read_index(folder, "val")
    picture = prompt_picture(first, EvaluationProtocol())
    assert set(picture.targets.names.values()) == {"square"}
    assert set(picture.targets.labels.values()) == {1}
    (folder / "labels.csv").write_text("id\n1\n")
    with pytest.raises(DataError, match="columns label"):
        read_index(folder, "val")
