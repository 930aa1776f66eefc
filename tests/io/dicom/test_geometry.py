"""Where voxels of a DICOM volume lie, by hand and by property: right to 0.01 mm, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantom import Phantom, dataset, enhanced, turned, write_series
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from medsam import read_image
from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Image
from medsam.io.dicom.image import read_series

TOLERANCE_MM = 0.01


def worst_error_mm(image: Image, phantom: Phantom) -> float:
    """Largest distance between where the grid puts a voxel and where the phantom put the pixel that lies there."""
    voxels = np.indices(image.grid.shape).reshape(3, -1).T
    truth = phantom.world(phantom.indices[image.values.ravel().astype(int)])
    return float(np.linalg.norm(image.grid.to_world(voxels) - truth, axis=1).max())


def test_axial_series_has_the_affine_of_its_header(tmp_path):
    write_series(tmp_path, Phantom())
    image = read_image(tmp_path)
    assert image.values.shape == (6, 7, 9)
    assert image.grid.spacing_mm == pytest.approx((3.0, 0.75, 0.5))
    assert image.grid.orientation == "SPL"
    np.testing.assert_allclose(image.grid.to_world([[0, 0, 0]]), [[-20, 30, 100]])
    np.testing.assert_allclose(image.grid.to_world([[2, 4, 6]]), [[-20 + 3, 30 + 3, 100 + 6]])
    assert image.values[2, 4, 6] == 2 * 63 + 4 * 9 + 6


def test_coronal_series_is_stacked_along_its_own_normal(tmp_path):
    phantom = Phantom(turn=np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]))
    write_series(tmp_path, phantom)
    image = read_image(tmp_path)
    assert image.grid.find_axis("coronal") == 0
    assert worst_error_mm(image, phantom) < TOLERANCE_MM


def test_slice_thickness_and_spacing_between_slices_are_not_believed(tmp_path):
    write_series(tmp_path, Phantom(distance_mm=2.0))
    assert read_image(tmp_path).grid.spacing_mm[0] == pytest.approx(2.0)


def test_one_slice_takes_its_thickness(tmp_path):
    path = write_series(tmp_path, Phantom())[3]
    image = read_image(path)
    assert image.values.shape == (1, 7, 9)
    assert image.grid.spacing_mm == pytest.approx((1.25, 0.75, 0.5))
    np.testing.assert_allclose(image.grid.to_world([[0, 0, 0]]), [[-20, 30, 109]])


def test_missing_slice_is_refused_with_the_gap_in_mm(tmp_path):
    write_series(tmp_path, Phantom(missing=(2,)))
    with pytest.raises(GeometryError, match=r"6\.000 mm between 103\.000 and 109\.000 mm"):
        read_image(tmp_path)


def test_doubled_slice_is_refused_with_its_place_in_mm(tmp_path):
    write_series(tmp_path, Phantom(doubled=(4,)))
    with pytest.raises(GeometryError, match=r"1 of 7 slices .* 112\.000 mm"):
        read_image(tmp_path)
    with pytest.raises(GeometryError, match=r"112\.000 mm"):
        read_image(tmp_path, geometry="resample")


def test_copy_of_the_same_object_counts_once(tmp_path):
    first = write_series(tmp_path, Phantom())[0]
    (tmp_path / "copy").write_bytes(first.read_bytes())
    assert read_image(tmp_path).values.shape == (6, 7, 9)


def test_tilt_is_refused_with_degrees_and_mm(tmp_path):
    write_series(tmp_path, Phantom(tilt_degrees=15))
    with pytest.raises(GeometryError, match=r"15\.00 degrees: each slice is shifted by 0\.804 mm, 4\.019 mm in all"):
        read_image(tmp_path)


def test_uneven_slices_within_a_percent_are_refused_if_a_voxel_is_off_by_a_hundredth(tmp_path):
    for k in range(6):
        ds = dataset(Phantom(), k)
        ds.ImagePositionPatient[2] = 100 + 3 * k + (0.025 if k == 3 else 0)
        ds.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    with pytest.raises(GeometryError, match=r"off an even grid"):
        read_image(tmp_path)


def test_rounded_positions_are_accepted(tmp_path):
    for k in range(6):
        ds = dataset(Phantom(distance_mm=0.625), k)
        ds.ImagePositionPatient[2] = f"{100 + 0.625 * k:.2f}"
        ds.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    assert read_image(tmp_path).grid.spacing_mm[0] == pytest.approx(0.625, abs=0.002)


def test_mixed_pixel_spacing_is_refused(tmp_path):
    write_series(tmp_path, Phantom())
    odd = dataset(Phantom(depth=7, row_mm=0.8), 6)
    odd.save_as(tmp_path / "odd", enforce_file_format=True)
    with pytest.raises(GeometryError, match="2 pixel spacings"):
        read_image(tmp_path)


def test_slices_without_pixel_spacing_are_refused(tmp_path):
    for k in range(3):
        ds = dataset(Phantom(), k)
        del ds.PixelSpacing
        ds.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    with pytest.raises(GeometryError, match="no pixel spacing"):
        read_image(tmp_path)


def test_skewed_orientation_is_refused(tmp_path):
    ds = dataset(Phantom(), 0)
    ds.ImageOrientationPatient = [1, 0, 0, 0.5, 0.5, 0]
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputFileError, match="perpendicular"):
        read_image(tmp_path / "a.dcm")


angles = st.floats(-180, 180)
phantoms = st.builds(
    Phantom,
    depth=st.integers(2, 5),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    row_mm=st.floats(0.1, 3),
    column_mm=st.floats(0.1, 3),
    distance_mm=st.floats(0.2, 8),
    origin_mm=st.tuples(*[st.floats(-500, 500)] * 3),
    turn=st.builds(turned, angles, angles, angles, mirrored=st.booleans()),
    tilt_degrees=st.sampled_from([0.0, 0.0, 0.0, 0.02, 1.0, -30.0, 30.0]) | st.floats(-30, 30),
    missing=st.sampled_from([(), (), (1,)]),
    doubled=st.sampled_from([(), (), (0,)]),
    modality=st.sampled_from(["CT", "MR"]),
)
quick = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def read_or_refuse(phantom: Phantom, datasets: list) -> Image | None:
    """The image, None if it was refused; refused for a reason and accepted without one."""
    gap = phantom.missing and phantom.depth > 3  # of two slices left, any distance is even
    sideways = abs(np.tan(np.radians(phantom.tilt_degrees)))
    try:
        image = read_series(datasets)
    except GeometryError:
        assert phantom.doubled or gap or sideways > np.tan(np.radians(0.049))
        return None
    assert not phantom.doubled
    assert not gap
    assert sideways < np.tan(np.radians(0.051))
    return image


@quick
@given(phantom=phantoms)
def test_every_voxel_lies_where_its_slice_says_or_the_series_is_refused(phantom):
    rng = np.random.default_rng(0)
    wanted = [k for k in range(phantom.depth) if k not in phantom.missing] + list(phantom.doubled)
    if len(wanted) < 2:
        return
    image = read_or_refuse(phantom, [dataset(phantom, k) for k in rng.permutation(wanted)])
    if image is not None:
        assert worst_error_mm(image, phantom) < TOLERANCE_MM


@quick
@given(phantom=phantoms)
def test_every_voxel_of_a_multi_frame_lies_where_its_frame_says_or_it_is_refused(phantom):
    wanted = [k for k in range(phantom.depth) if k not in phantom.missing] + list(phantom.doubled)
    if len(wanted) < 2:
        return
    order = [int(k) for k in np.random.default_rng(1).permutation(wanted)]
    image = read_or_refuse(phantom, [enhanced(phantom, order)])
    if image is not None:
        assert worst_error_mm(image, phantom) < TOLERANCE_MM


@quick
@given(
    phantom=st.builds(
        Phantom,
        depth=st.integers(3, 6),
        rows=st.integers(10, 24),
        columns=st.integers(6, 10),
        row_mm=st.floats(0.3, 2),
        column_mm=st.floats(0.3, 2),
        distance_mm=st.floats(0.5, 4),
        turn=st.builds(turned, angles, angles, angles, mirrored=st.booleans()),
        tilt_degrees=st.floats(-30, 30),
        missing=st.sampled_from([(), (1,), (2,)]),
        slope=st.just(1e-5),
        intercept=st.just(-1000.0),
    ),
    direction=st.builds(turned, angles, angles, angles),
)
def test_resampled_values_are_those_of_their_place(phantom, direction):
    """The picture is a ramp of 1 per mm in some direction, so that a value off by 0.01 is a voxel off by 0.01 mm."""
    along = direction[0]

    def ramp(world_N3: np.ndarray) -> np.ndarray:
        return (world_N3 - phantom.origin_mm) @ along

    def stored(k: int) -> np.ndarray:
        index = np.argwhere(np.ones((phantom.rows, phantom.columns)))
        mm = ramp(phantom.world(np.column_stack([np.full(len(index), k), index])))
        return np.rint((mm + 1000) / 1e-5).astype(np.uint32).reshape(phantom.rows, phantom.columns)

    kept = [k for k in range(phantom.depth) if k not in phantom.missing]
    image = read_series([dataset(phantom, k, stored(k)) for k in kept], geometry="resample")
    voxels = np.indices(image.grid.shape).reshape(3, -1).T
    world = image.grid.to_world(voxels)
    covered = inside(phantom, world, kept)
    assume(covered.any())
    error = np.abs(image.values.ravel()[covered] - ramp(world[covered]))
    assert error.max() < TOLERANCE_MM
    axes = image.grid.affine[:3, :3] / np.linalg.norm(image.grid.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)


def inside(phantom: Phantom, world: np.ndarray, kept: list[int]) -> np.ndarray:
    """Which points lie inside the outlines of the slices above and below, so that no fill value takes part."""
    across, down, normal = phantom.axes.T
    relative = world - np.array(phantom.origin_mm)
    x, y, z = relative @ across, relative @ down, relative @ normal / phantom.distance_mm
    slices = np.array(kept)
    below = slices[np.searchsorted(slices, z + 1e-6, side="right") - 1]
    above = slices[np.searchsorted(slices, z - 1e-6)]
    shift = np.tan(np.radians(phantom.tilt_degrees)) * phantom.distance_mm
    low = np.maximum(below * shift, above * shift)
    high = np.minimum(below * shift, above * shift) + (phantom.rows - 1) * phantom.row_mm
    # A pixel at the very edge may be moved out by rounding; 0.001 pixel is what the reader calls nothing.
    edge = 1e-3 * phantom.row_mm
    return (x > -1e-6) & (x < (phantom.columns - 1) * phantom.column_mm + 1e-6) & (y > low + edge) & (y < high - edge)


def test_a_3d_ultrasound_lies_in_the_frame_of_its_probe(tmp_path):
    phantom = Phantom(distance_mm=0.4)
    ds = enhanced(phantom, [3, 0, 5, 1, 4, 2])
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.2"  # Enhanced US Volume
    ds.Modality = "US"
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationVolumeSequence = [Dataset()]
    shared.PlaneOrientationVolumeSequence[0].ImageOrientationVolume = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    del shared.PlaneOrientationSequence
    for frame in ds.PerFrameFunctionalGroupsSequence:
        place = Dataset()
        place.ImagePositionVolume = [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]
        frame.PlanePositionVolumeSequence = [place]
        del frame.PlanePositionSequence
    ds.save_as(tmp_path / "us.dcm", enforce_file_format=True)
    image = read_image(tmp_path / "us.dcm")
    assert image.modality == "ultrasound"
    assert image.grid.spacing_mm == pytest.approx((0.4, phantom.row_mm, phantom.column_mm))
    voxels = np.array([[0, 0, 0], [5, 6, 8]])
    assert np.abs(image.grid.to_world(voxels) - phantom.world(voxels)).max() < 0.01
