"""Grid, Image and Mask: places by hand, axes moved and restored, refusals, pickles."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import medsam
from medsam.errors import GeometryError, IntensityError, MedsamError, PromptError
from medsam.imaging.image import Grid, move_axis
from medsam.imaging.modality import Modality, Window

# z to superior 5 mm, y to posterior 2 mm, x to left 1 mm, first voxel at (10, 20, 30)
AXIAL = np.array([[0, 0, 1, 10], [0, 2, 0, 20], [5, 0, 0, 30], [0, 0, 0, 1.0]])
OBLIQUE = np.array([[0.3, 0.4, 0.8, -7], [-0.6, 1.5, 0.2, 3], [4.0, 0.5, -0.4, 11], [0, 0, 0, 1.0]])  # and sheared
CORNERS = np.array([(z, y, x) for z in (0, 3) for y in (0, 4) for x in (0, 5)])


def test_indices_and_millimetres_by_hand() -> None:
    grid = medsam.Grid((4, 5, 6), affine=AXIAL)
    assert grid.spacing_mm == (5.0, 2.0, 1.0)
    assert grid.to_world([[0, 0, 0], [1, 2, 3]]).tolist() == [[10, 20, 30], [13, 24, 35]]
    assert grid.to_index([[13, 24, 35]]).tolist() == [[1, 2, 3]]
    assert grid.orientation == "SPL"


def test_without_an_affine_slices_are_axial() -> None:
    grid = medsam.Grid((4, 5, 6), spacing_mm=(5, 2, 1))
    assert grid.to_world([[1, 1, 1]]).tolist() == [[1, 2, 5]]
    assert grid.orientation == "SPL"
    unknown = medsam.Grid((1, 5, 6))
    assert unknown.spacing_mm is None
    assert unknown.to_world([[0, 1, 2]]).tolist() == [[2, 1, 0]]


def test_indices_come_back_from_an_oblique_grid() -> None:
    grid = medsam.Grid((4, 5, 6), affine=OBLIQUE)
    assert grid.to_index(grid.to_world(CORNERS)) == pytest.approx(CORNERS, abs=1e-12)


@pytest.mark.parametrize(
    ("order", "signs", "code"),
    [
        ((2, 1, 0), (1, 1, 1), "SPL"),
        ((2, 1, 0), (-1, -1, -1), "IAR"),
        ((0, 2, 1), (-1, -1, 1), "RIP"),
        ((1, 2, 0), (1, -1, 1), "PIL"),
    ],
)
def test_orientation_letters(order: tuple[int, ...], signs: tuple[int, ...], code: str) -> None:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign
    grid = medsam.Grid((2, 3, 4), affine=affine)
    assert grid.orientation == code
    assert "IS".find(code[grid.find_axis("axial")]) >= 0
    assert "AP".find(code[grid.find_axis("coronal")]) >= 0
    assert "RL".find(code[grid.find_axis("sagittal")]) >= 0


def test_oblique_axes_never_share_a_letter() -> None:
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turned
    code = medsam.Grid((2, 2, 2), affine=affine).orientation
    assert {"RL".find(c) >= 0 for c in code} == {True, False}
    assert len({pair for c in code for pair in ("RL", "AP", "IS") if c in pair}) == 3


@pytest.mark.parametrize(
    "bad",
    [
        {"shape": (0, 1, 1)},
        {"shape": (1, 1)},
        {"shape": (1, 1, 1), "spacing_mm": (0, 1, 1)},
        {"shape": (1, 1, 1), "spacing_mm": (1, 1)},
        {"shape": (1, 1, 1), "spacing_mm": (1, -1, 1)},
        {"shape": (1, 1, 1), "spacing_mm": (1, np.nan, 1)},
        {"shape": (1, 1, 1), "affine": np.zeros((4, 4))},
        {"shape": (1, 1, 1), "affine": np.eye(3)},
        {"shape": (1, 1, 1), "affine": np.diag([1, 1, np.nan, 1])},
        {"shape": (1, 1, 1), "affine": np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])},
        {"shape": (1, 1, 1), "affine": AXIAL, "spacing_mm": (5, 2, 2)},
        {"shape": (1, 1, 1), "affine": np.ones((4, 4))},
    ],
)
def test_grids_that_are_none_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(GeometryError):
        medsam.Grid(**bad)  # type: ignore[arg-type]


def test_grids_cannot_be_changed_from_outside() -> None:
    affine = AXIAL.copy()
    grid = medsam.Grid((4, 5, 6), affine=affine)
    affine[0, 3] = 99
    assert grid.to_world([[0, 0, 0]])[0, 0] == 10
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 99  # type: ignore[index]


def test_distance_between_grids_is_the_farthest_corner() -> None:
    grid = medsam.Grid((4, 5, 6), affine=AXIAL)
    moved = AXIAL.copy()
    moved[:3, 3] += (3, 4, 0)
    assert grid.max_distance_mm(medsam.Grid((4, 5, 6), affine=moved)) == pytest.approx(5)
    assert grid.max_distance_mm(medsam.Grid((4, 5, 7), affine=AXIAL)) == float("inf")
    assert grid.same_as(medsam.Grid((4, 5, 6), affine=AXIAL + 1e-6 * (AXIAL != 0) * (np.arange(4) < 3)[:, None]))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("affine", [AXIAL, OBLIQUE], ids=["axial", "oblique and sheared"])
def test_a_moved_axis_keeps_every_voxel_in_its_place(axis: int, affine: np.ndarray) -> None:
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    image = medsam.Image(values, medsam.Grid((4, 5, 6), affine=affine))
    moved = image.move_axis(axis)
    assert moved.grid.shape[0] == image.grid.shape[axis]
    for index in CORNERS:
        other = [index[axis], *(index[i] for i in range(3) if i != axis)]
        assert moved.values[tuple(other)] == values[tuple(index)]
        assert moved.grid.to_world([other]) == pytest.approx(image.grid.to_world([index]))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("affine", [AXIAL, OBLIQUE, None], ids=["axial", "oblique and sheared", "unknown"])
def test_a_restored_axis_is_the_mask_again(axis: int, affine: np.ndarray | None) -> None:
    labels = np.arange(4 * 5 * 6).reshape(4, 5, 6) % 7
    mask = medsam.Mask(labels, medsam.Grid((4, 5, 6), affine=affine), {1: "one"}, {1: (1, 2, 3)})
    again = mask.move_axis(axis).restore_axis(axis)
    assert np.array_equal(again.labels, labels)
    assert again.grid.same_as(mask.grid, 1e-9)
    assert again.grid.spacing_mm == mask.grid.spacing_mm
    assert again.names == mask.names


@pytest.mark.parametrize("affine", [AXIAL, OBLIQUE, None], ids=["axial", "oblique and sheared", "unknown"])
def test_a_slice_alone_stays_in_its_place(affine: np.ndarray | None) -> None:
    mask = medsam.Mask(np.arange(24).reshape(2, 3, 4), medsam.Grid((2, 3, 4), affine=affine), {5: "five"})
    alone = mask.slice_at(1)
    assert np.array_equal(alone.labels, mask.labels[1:]) and alone.names == {5: "five"}
    assert (alone.grid.spacing_mm is None) == (affine is None)
    if affine is not None:
        assert np.allclose(alone.grid.to_world([[0, 2, 3]]), mask.grid.to_world([[1, 2, 3]]))


def test_a_moved_grid_of_unknown_spacing_stays_unknown() -> None:
    assert move_axis(medsam.Grid((4, 5, 6)), 2).spacing_mm is None
    assert move_axis(medsam.Grid((4, 5, 6)), 2).shape == (6, 4, 5)


def test_slices_for_the_model_are_rgb() -> None:
    grey = medsam.Image(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), medsam.Grid((2, 2, 2)))
    assert grey.slice_rgb(1).tolist() == [[[4] * 3, [5] * 3], [[6] * 3, [7] * 3]]
    colour = medsam.Image(np.zeros((1, 2, 2, 3), np.uint8), medsam.Grid((1, 2, 2)))
    assert colour.is_rgb
    assert colour.slice_rgb(0).shape == (2, 2, 3)
    for index in (-1, 2):
        with pytest.raises(PromptError, match="0 to 1"):
            grey.slice_rgb(index)
    with pytest.raises(IntensityError, match="normalize"):
        medsam.Image(np.zeros((1, 2, 2)), medsam.Grid((1, 2, 2))).slice_rgb(0)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (np.zeros((2, 2, 3)), GeometryError),
        (np.zeros((2, 2, 2, 4)), GeometryError),
        (np.zeros((2, 2)), GeometryError),
        (np.zeros((2, 2, 2), np.complex64), IntensityError),
        (np.full((2, 2, 2), "a"), IntensityError),
    ],
)
def test_images_that_are_none_are_refused(values: np.ndarray, error: type[MedsamError]) -> None:
    with pytest.raises(error):
        medsam.Image(values, medsam.Grid((2, 2, 2)))


def test_normalized_images_are_uint8() -> None:
    with pytest.raises(IntensityError, match="uint8"):
        medsam.Image(np.zeros((1, 2, 2)), medsam.Grid((1, 2, 2)), normalized=True)


def test_masks_hold_whole_labels_on_their_grid() -> None:
    grid = medsam.Grid((1, 2, 2))
    assert medsam.Mask(np.array([[[True, False], [False, True]]]), grid).labels.dtype == np.uint8
    assert medsam.Mask(np.array([[[0, 5], [2, 5]]]), grid).ids == (2, 5)
    for bad in (np.zeros((1, 2, 2), np.float32), np.zeros((2, 2, 1), int), np.array([[[-1, 0], [0, 0]]])):
        with pytest.raises(GeometryError):
            medsam.Mask(bad, grid)


def test_values_survive_a_pickle() -> None:
    grid = medsam.Grid((1, 2, 2), affine=AXIAL)
    mask = pickle.loads(pickle.dumps(medsam.Mask(np.eye(2, dtype=np.uint8)[None], grid, {1: "liver"}, {1: (9, 8, 7)})))
    assert mask.names == {1: "liver"}
    assert mask.colors == {1: (9, 8, 7)}
    assert mask.grid.same_as(grid)
    with pytest.raises(TypeError):
        mask.names[2] = "no"
    image = pickle.loads(pickle.dumps(medsam.Image(np.zeros((1, 2, 2)), grid, Modality.CT, Window(400, 40))))
    assert (image.modality, image.window) == (Modality.CT, Window(400, 40))


def test_errors_survive_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(GeometryError("a", expected="b", fix="c")))
    assert type(error) is GeometryError
    assert str(error) == "a; expected b; c"
    assert (error.got, error.expected, error.fix) == ("a", "b", "c")


@given(st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 2))
def test_any_shape_moves_and_restores(shape: tuple[int, int, int], axis: int) -> None:
    labels = np.arange(np.prod(shape)).reshape(shape)
    mask = medsam.Mask(labels, medsam.Grid(shape, spacing_mm=(3.0, 2.0, 1.0)))
    again = mask.move_axis(axis).restore_axis(axis)
    assert np.array_equal(again.labels, labels)
    assert again.grid.same_as(mask.grid)


def test_a_notebook_shows_one_line() -> None:
    grid = medsam.Grid((2, 3, 4), spacing_mm=(5.0, 0.75, 0.75))
    image = medsam.Image(np.zeros((2, 3, 4), np.int16), grid, Modality.CT)
    assert repr(image) == "Image(2 x 3 x 4, 5 x 0.75 x 0.75 mm, int16, CT)"
    picture = medsam.Image(np.zeros((1, 3, 4, 3), np.uint8), medsam.Grid((1, 3, 4)), normalized=True)
    assert repr(picture) == "Image(1 x 3 x 4, spacing unknown, RGB uint8 normalized, modality unknown)"
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[0, 0, :3], labels[1, 0, 0] = 1, 7
    assert repr(medsam.Mask(labels, grid, {1: "liver"})) == (
        "Mask(2 x 3 x 4, 5 x 0.75 x 0.75 mm, 1 liver: 3 voxels, 7: 1 voxels)"
    )
    assert repr(medsam.Mask(np.zeros((1, 1, 1), np.uint8), medsam.Grid((1, 1, 1)))) == (
        "Mask(1 x 1 x 1, spacing unknown, empty)"
    )


def test_a_part_of_a_grid_lies_where_it_lay():
    affine = np.array([[0, 0, -0.5, 10], [0, -0.7, 0, 20], [3, 0.1, 0, 30], [0, 0, 0, 1]])
    part = Grid((6, 5, 4), affine=affine).cut(((1, 3), (2, 5), (0, 4)))
    assert part.shape == (2, 3, 4)
    assert np.allclose(part.to_world([[0, 0, 0]]), Grid((6, 5, 4), affine=affine).to_world([[1, 2, 0]]))
    assert Grid((6, 5, 4)).cut(((1, 3), (2, 5), (0, 4))).spacing_mm is None
