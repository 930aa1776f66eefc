"""Models asked alike: predictions made elsewhere, Python objects, and what becomes of one that fails."""

from __future__ import annotations

import math
import time

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from medsam.errors import DataError
from medsam.evaluation.comparators import (
    Comparator,
    compare_object,
    compare_predictions,
    measure_comparator,
    save_masks,
)
from medsam.evaluation.evaluate import PromptedPicture
from medsam.evaluation.targets import PromptedTargets

SQUARES = ((slice(5, 15), slice(5, 15)), (slice(5, 15), slice(30, 40)), (slice(25, 35), slice(5, 15)))


def squares(values):
    labels = np.zeros((40, 50), np.uint8)
    for place, value in zip(SQUARES, values, strict=True):
        labels[place] = value
    return labels


def picture(labels=(1, 1, 2), *, clicks=False):
    """A picture of three squares: two of class 1, one of class 2."""
    masks = {k: squares([k == i for i in range(3)]).astype(bool) for k in range(3)}
    boxes = np.array([[5, 5, 14, 14], [30, 5, 39, 14], [5, 25, 14, 34]], float)
    points = [[(9.0, 9.0)], [(34.0, 9.0)], [(9.0, 29.0)]]
    asked = PromptedTargets(
        masks, None if clicks else boxes, points if clicks else None, labels=dict(enumerate(labels))
    )
    return PromptedPicture("us_a", "ultrasound", "one.png", "p1", np.zeros((40, 50, 3), np.uint8), asked)


def dices(comparator, asked):
    scores, _ = measure_comparator(comparator, asked)
    return [round(score.dice, 6) for score in scores], scores[0].fault


@pytest.mark.parametrize("form", ["png", "nii.gz", "npz"])
@pytest.mark.parametrize("nested", [True, False])
def test_a_label_map_answers_with_the_class_inside_the_box(tmp_path, form, nested):
    folder = tmp_path / "us_a" if nested else tmp_path
    folder.mkdir(exist_ok=True)
    labels = squares((1, 2, 2))  # the second is of a wrong class
    if form == "png":
        Picture.fromarray(labels).save(folder / "one.png")
    elif form == "npz":
        np.savez(folder / "one.npz", segs=labels)
    else:
        nibabel.save(nibabel.Nifti1Image(labels.T[:, :, None], np.diag([-1, -1, 1, 1])), folder / "one.nii.gz")
    assert dices(compare_predictions("theirs", tmp_path), picture()) == ([1.0, 0.0, 1.0], "")
    assert dices(compare_predictions("theirs", tmp_path), picture(clicks=True)) == ([1.0, 0.0, 1.0], "")


def test_instances_are_found_by_place_whatever_their_number(tmp_path):
    Picture.fromarray(squares((9, 7, 0))).save(tmp_path / "one.png")
    for clicks in (False, True):
        asked = picture(labels=(0, 0, 0), clicks=clicks)
        assert dices(compare_predictions("theirs", tmp_path), asked)[0][:2] == [1.0, 1.0]


def test_masks_that_were_kept_are_predictions(tmp_path):
    stack = np.stack([*picture().targets.masks.values()])
    save_masks(tmp_path / "us_a/one.png.npz", stack)
    comparator = compare_predictions("kept", tmp_path)
    scores, found = measure_comparator(comparator, picture())
    assert [score.dice for score in scores] == [1.0, 1.0, 1.0]
    assert math.isnan(scores[0].quality)
    np.testing.assert_array_equal(found, stack)
    save_masks(tmp_path / "us_a/one.png.npz", stack[:2])
    assert "masks of shape (2, 40, 50)" in dices(comparator, picture())[1]


def test_a_missing_prediction_and_another_grid_are_faults_of_the_picture(tmp_path):
    Picture.fromarray(squares((1, 1, 1))).save(tmp_path / "other.png")
    comparator = compare_predictions("theirs", tmp_path)
    assert dices(comparator, picture()) == ([0.0, 0.0, 0.0], "no prediction")
    Picture.fromarray(np.ones((20, 25), np.uint8)).save(tmp_path / "one.png")
    assert "(1, 20, 25) pixels" in dices(comparator, picture())[1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no predictions"):
        compare_predictions("theirs", tmp_path / "empty")


def test_a_model_that_raises_or_takes_too_long_gets_the_worst_rows_with_the_reason():
    def quote(_):
        raise RuntimeError("Jane Doe")

    scores, masks = measure_comparator(Comparator("bad", "", quote), picture())
    assert masks is None
    assert {(s.dice, s.nsd, s.hd95, s.volume_error) for s in scores} == {(0.0, 0.0, math.inf, -1.0)}
    assert {s.fault for s in scores} == {"the model failed (RuntimeError)"}
    slow = Comparator("slow", "", lambda _: time.sleep(30))
    scores, _ = measure_comparator(slow, picture(), timeout_seconds=0.1)
    assert scores[0].fault == "no answer within 0.1 s"
    assert sum(score.seconds for score in scores) < 5


def test_an_object_must_exist_and_segment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "our_model.py").write_text(
        "class Nothing:\n    def embed(self, x): return len(x)\n"
        "    def decode(self, e, **k): import numpy; n = len(k['boxes']); return numpy.zeros((n, 40, 50), bool), numpy.ones(n)\n"
        "def make(): return Nothing()\ndef wrong(): return 3\n"
    )
    assert dices(compare_object("nothing", "our_model:make"), picture()) == ([0.0, 0.0, 0.0], "")
    with pytest.raises(DataError, match="gave a int"):
        compare_object("x", "our_model:wrong")
    for place in ("our_model:none", "no_module_of_ours:make"):
        with pytest.raises(DataError, match="could not be called"):
            compare_object("x", place)
