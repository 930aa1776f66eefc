"""Embed once, decode many prompts: answers, refusals, threads, memory."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from medsam.errors import IntensityError, MissingDependencyError, PromptError
from medsam.inference.embedding import Embedding
from medsam.inference.logits import FLOAT_BYTES
from medsam.inference.predictor import Predictor, load_predictor
from medsam.models.weights.catalog import find_cached

BOX = (118, 58, 202, 142)  # the disc and two pixels


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def test_box_around_a_disc_gives_the_disc(lite, disc, disc_embedding):
    masks, scores = lite.decode(disc_embedding, boxes=[BOX])
    assert masks.dtype == bool and masks.shape == (1, 200, 300)
    assert scores.dtype == np.float32 and scores.shape == (1,) and 0.8 < scores[0] <= 1
    assert dice(masks[0], disc[1]) > 0.95


def test_many_boxes_in_one_decode_equal_one_by_one(lite, disc_embedding):
    boxes = [BOX, (100, 40, 220, 160), (0, 0, 300, 200), (10.5, 10.5, 60, 50)]
    together, scores = lite.decode(disc_embedding, boxes=boxes)
    for i, box in enumerate(boxes):
        alone, score = lite.decode(disc_embedding, boxes=box)  # a single box may come without its list
        assert (alone[0] != together[i]).sum() <= 2
        assert score[0] == pytest.approx(scores[i], abs=1e-3)


def test_a_batch_of_slices_of_several_sizes_equals_one_by_one(lite, disc, disc_embedding):
    small = np.ascontiguousarray(disc[0][:150, 20:240])
    for alone, together in zip((disc_embedding, lite.embed(small)), lite.embed_batch([disc[0], small]), strict=True):
        assert alone.frame == together.frame and together.features.shape == (1, 256, 64, 64)
        assert torch.allclose(alone.features, together.features, atol=1e-5)


def test_no_slices_give_no_embeddings(lite):
    assert lite.embed_batch([]) == []


def test_points_work_on_weights_for_boxes_and_it_is_said_once(lite, disc, disc_embedding, caplog):
    fresh = Predictor(lite.runtime, lite.manifest, weights=lite.weights)
    with caplog.at_level(logging.WARNING, logger="medsam"):
        fresh.decode(disc_embedding, boxes=[BOX])
        assert not caplog.records
        masks, _ = fresh.decode(
            disc_embedding, points=[[(160, 100)], [(160, 100), (20, 20)]], point_labels=[[1], [1, 0]]
        )
        fresh.decode(disc_embedding, points=[[(160, 100)]], point_labels=[[1]])
    assert masks.shape == (2, 200, 300)
    assert [record.getMessage() for record in caplog.records] == [
        "lite-medsam was trained for box prompts only; expect little of a point prompt"
    ]


def test_points_refine_boxes_one_list_for_each(lite, disc_embedding):
    masks, _ = lite.decode(
        disc_embedding, boxes=[BOX, BOX], points=[[(160, 100)], [(160, 60), (130, 100)]], point_labels=[[1], [1, 1]]
    )
    assert masks.shape == (2, 200, 300) and masks[:, 100, 160].all()


def test_a_previous_mask_may_go_in_for_all_boxes_or_for_each(lite, disc, disc_embedding):
    one, _ = lite.decode(disc_embedding, boxes=[BOX, BOX], mask=disc[1])
    each, _ = lite.decode(disc_embedding, boxes=[BOX, BOX], mask=np.stack([disc[1], disc[1]]))
    assert (one == each).all() and dice(one[0], disc[1]) > 0.8


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ({}, "no prompt"),
        ({"boxes": [(10, 10, 400, 50)]}, "leaves the image of 300 x 200"),
        ({"boxes": [(50, 50, 50, 90)]}, "is empty"),
        ({"boxes": []}, "at least one"),
        ({"points": [[(10, 10)]]}, "points without point_labels"),
        ({"point_labels": [[1]]}, "point_labels without points"),
        ({"points": [[(10, 300)]], "point_labels": [[1]]}, "leaves the image"),
        ({"points": [(10, 10)], "point_labels": [[1]]}, "one list for each object"),
        ({"points": [[(10, 10), (20, 20)]], "point_labels": [[1]]}, "2 points with 1 labels"),
        ({"points": [[(10, 10)]], "point_labels": [[2]]}, "point labels are"),
        ({"points": [[(10, 10)]], "point_labels": [[1], [0]]}, "1 lists of points with 2 lists of labels"),
        ({"boxes": [BOX, BOX], "points": [[(10, 10)]], "point_labels": [[1]]}, "2 boxes and 1 lists of points"),
        ({"boxes": [BOX], "mask": np.zeros((3, 3), bool)}, "previous mask of shape (3, 3)"),
        ({"boxes": [BOX], "mask": np.zeros((2, 200, 300), bool)}, "2 previous masks for 1 prompts"),
        ({"boxes": [BOX], "multimask": True}, "multimask with lite-medsam"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused_in_words(lite, disc_embedding, prompts, words):
    with pytest.raises(PromptError) as caught:
        lite.decode(disc_embedding, **prompts)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((9, 9)), np.zeros((9, 9, 3)), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8)],
)
def test_a_slice_that_is_not_uint8_rgb_is_refused(bright, bad):
    with pytest.raises(IntensityError):
        bright.embed(bad)


def test_an_embedding_of_other_weights_is_refused(lite, bright, disc):
    with pytest.raises(PromptError, match="embed the slice with this predictor"):
        lite.decode(bright.embed(disc[0]), boxes=[BOX])


def test_eight_threads_get_the_answers_of_one(lite, disc, disc_embedding):
    boxes = [(118 - i, 58 - i, 202 + i, 142 + i) for i in range(8)]
    alone = [lite.decode(disc_embedding, boxes=[box]) for box in boxes]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda box: lite.decode(disc_embedding, boxes=[box]), boxes * 2))
        features = list(pool.map(lambda _: lite.embed(disc[0]).features, range(2)))
    for (mask, score), (expected, expected_score) in zip(answers, alone * 2, strict=True):
        assert (mask == expected).all() and score == expected_score
    assert all(torch.equal(one, disc_embedding.features) for one in features)


def test_upsampled_values_are_never_held_for_all_prompts_at_once(bright):
    picture = np.full((2048, 2048, 3), 200, np.uint8)
    embedding = bright.embed(picture)
    boxes = [(10 * i, 10 * i, 10 * i + 400, 10 * i + 300) for i in range(40)]
    parts = [(part.logits_NHW.numel() * 4, len(part.scores_N)) for part in bright.decode_parts(embedding, boxes=boxes)]
    assert max(size for size, _ in parts) <= FLOAT_BYTES and sum(count for _, count in parts) == 40


def test_multimask_gives_three_masks_for_each_prompt(bright, disc):
    sam_like = replace(bright.manifest, multimask=True, quality_trained=True, upsample="frame")
    predictor = Predictor(bright.runtime, sam_like, weights="bright")
    masks, scores = predictor.decode(predictor.embed(disc[0]), boxes=[BOX, BOX], multimask=True)
    assert masks.shape == (2, 3, 200, 300) and scores.shape == (2, 3)
    assert (scores == 0.5).all()  # the predicted IoU, since it counts as trained here


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 2), (3, 256)])
def test_slices_of_a_pixel_or_a_line_work(bright, shape):
    masks, scores = bright.decode(bright.embed(np.full((*shape, 3), 255, np.uint8)), boxes=[(0, 0, shape[1], shape[0])])
    assert masks.shape == (1, *shape) and masks.all() and scores.shape == (1,)


def test_bf16_keeps_the_mask(lite, disc, disc_embedding):
    half = load_predictor(find_cached("lite-medsam"), device="cpu", precision="bf16")
    embedding = half.embed(disc[0])
    assert isinstance(embedding, Embedding) and embedding.features.dtype == torch.float32
    assert dice(half.decode(embedding, boxes=[BOX])[0], lite.decode(disc_embedding, boxes=[BOX])[0]) > 0.98


def test_int8_of_lite_medsam_in_torch_is_refused_with_what_to_do():
    with pytest.raises(MissingDependencyError, match="openvino"):
        load_predictor(precision="int8", runtime="torch")


def test_tensors_and_lists_of_tensors_are_taken_as_arrays_are(lite, disc, disc_embedding):
    assert torch.equal(lite.embed(torch.from_numpy(disc[0])).features, lite.embed(disc[0]).features)
    wanted = lite.decode(disc_embedding, boxes=[BOX])[0]
    for boxes in (torch.tensor(BOX), torch.tensor([BOX]), [torch.tensor(BOX)], np.array([BOX], np.int16)):
        assert np.array_equal(lite.decode(disc_embedding, boxes=boxes)[0], wanted)
    wanted = lite.decode(disc_embedding, points=[[(160, 100), (20, 20)]], point_labels=[[1, 0]])[0]
    for points, labels in (
        (torch.tensor([[[160, 100], [20, 20]]]), torch.tensor([[1, 0]])),
        ([torch.tensor([[160, 100], [20, 20]])], [torch.tensor([1, 0])]),
        (np.array([[[160, 100], [20, 20]]]), np.array([[1, 0]])),
    ):
        assert np.array_equal(lite.decode(disc_embedding, points=points, point_labels=labels)[0], wanted)


def test_points_of_one_object_may_come_without_their_list(lite, disc_embedding):
    wanted = lite.decode(disc_embedding, points=[[(160, 100), (20, 20)]], point_labels=[[1, 0]])[0]
    for points in ([(160, 100), (20, 20)], np.array([[160, 100], [20, 20]]), torch.tensor([[160, 100], [20, 20]])):
        assert np.array_equal(lite.decode(disc_embedding, points=points, point_labels=[1, 0])[0], wanted)
    with pytest.raises(PromptError, match="2 points with 1 labels"):
        lite.decode(disc_embedding, points=[(160, 100), (20, 20)], point_labels=[1])


def test_a_list_that_is_no_picture_is_refused_in_words(lite):
    with pytest.raises(IntensityError, match="int64"):
        lite.embed([[[1, 2, 3]]])


def test_a_torch_device_is_a_device():
    assert load_predictor("lite-medsam", device=torch.device("cpu")).manifest.name == "lite-medsam"


def test_grey_slices_are_taken_as_three_equal_channels(lite, disc):
    grey = np.asarray(disc[0])[:, :, 0]
    same = lite.embed(np.repeat(grey[:, :, None], 3, axis=2))
    assert torch.equal(lite.embed(grey).features, same.features)


def test_a_notebook_shows_model_and_runtime(lite):
    assert repr(lite) == f"Predictor({lite.manifest.name}, tiny_vit, {lite.runtime.name})"
