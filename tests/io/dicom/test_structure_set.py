"""RTSTRUCT: the same voxels back from our contours, and other programs' contours filled or refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import CANARY, Phantom, enhanced, picture, random_mask, read_damaged, series, turned, write_series
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from medsam import read_image, read_mask, write_mask
from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.imaging.image import Grid, Mask
from medsam.io.dicom import structure_set as rtstruct

gapped_mask = partial(random_mask, ids=(1, 2, 900))


def test_labels_names_and_colours_come_back(tmp_path):
    folder, grid = series(tmp_path)
    mask = gapped_mask(grid)
    write_mask(mask, tmp_path / "m.dcm", reference=folder, format="rtstruct")
    back = read_mask(tmp_path / "m.dcm", reference=folder)
    assert np.array_equal(back.labels, mask.labels)
    assert dict(back.names) == {1: "Tumor", 2: "left kidney"}
    assert (back.colors[1], back.colors[2]) == ((255, 0, 0), (1, 2, 3))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.floats(-180, 180)] * 3), st.booleans(), st.floats(-30, 30), st.tuples(*[st.integers(1, 9)] * 3),
    st.floats(0.1, 0.9), st.integers(0, 2**31),
)  # fmt: skip
def test_any_orientation_flip_and_tilt_gives_the_same_voxels(tmp_path, angles, mirrored, tilt, size, density, seed):
    folder = tmp_path / f"series{abs(hash((angles, tilt, size, seed, mirrored)))}"
    phantom = Phantom(*size, turn=turned(*angles, mirrored=mirrored), tilt_degrees=tilt if size[0] > 1 else 0)
    write_series(folder, phantom)
    try:
        grid = read_image(folder, geometry="resample").grid
    except GeometryError:  # a tilt that would make many times the voxels
        reject()
    mask = gapped_mask(grid, seed, density=density)
    write_mask(mask, tmp_path / "m.dcm", reference=folder, format="rtstruct")
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=grid).labels, mask.labels)


def test_holes_islands_single_pixels_and_neighbours(tmp_path):
    folder, grid = series(tmp_path, Phantom(depth=2, rows=9, columns=12))
    labels = np.zeros(grid.shape, dtype=int)
    labels[0, 0:7, 0:7] = 1  # a block ...
    labels[0, 1:6, 1:6] = 0  # ... with a hole ...
    labels[0, 3, 3] = 1  # ... with an island
    labels[0, 2:5, 7:10] = 2  # a neighbour that shares an edge
    labels[0, 7, 7] = labels[0, 8, 8] = 1  # two pixels that touch at a corner
    labels[1, 8, 11] = 2  # one pixel in the last corner
    write_mask(Mask(labels, grid), tmp_path / "m.dcm", reference=folder, format="rtstruct")
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=folder).labels, labels)
    contours = pydicom.dcmread(tmp_path / "m.dcm").ROIContourSequence[0].ContourSequence
    assert {c.ContourGeometricType for c in contours} == {"CLOSED_PLANAR"}
    assert len(contours) == 4  # the hole is joined to the block


def test_the_contour_of_one_pixel_by_hand(tmp_path):
    folder, grid = series(tmp_path, Phantom())  # 0.5 mm columns, 0.75 mm rows, origin -20 30 100, 3 mm slices
    labels = np.zeros(grid.shape, dtype=int)
    labels[2, 3, 4] = 1
    write_mask(Mask(labels, grid), tmp_path / "m.dcm", reference=folder, format="rtstruct")
    (contour,) = pydicom.dcmread(tmp_path / "m.dcm").ROIContourSequence[0].ContourSequence
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
    assert points.min(axis=0) == pytest.approx([-20 + 3.5 * 0.5, 30 + 2.5 * 0.75, 106], abs=1e-3)
    assert points.max(axis=0) == pytest.approx([-20 + 4.5 * 0.5, 30 + 3.5 * 0.75, 106], abs=1e-3)


def test_a_stated_code_wins_over_the_name(tmp_path):
    folder, grid = series(tmp_path)
    mask = replace(gapped_mask(grid), codes={900: ("99LOCAL", "A1", "Part 8"), 1: ("SCT", "10200004", "Liver")})
    write_mask(mask, tmp_path / "m.dcm", reference=folder, format="rtstruct")
    rows = pydicom.dcmread(tmp_path / "m.dcm").RTROIObservationsSequence
    codes = [row.RTROIIdentificationCodeSequence[0] for row in rows]
    assert [code.CodeMeaning for code in codes] == ["Liver", "Kidney", "Part 8"]
    assert [row.RTROIInterpretedType for row in rows] == ["ORGAN", "ORGAN", ""]


def test_the_modules_a_planning_system_asks_for(tmp_path):
    folder, grid = series(tmp_path)
    write_mask(gapped_mask(grid), tmp_path / "m.dcm", reference=folder, format="rtstruct")
    ds = pydicom.dcmread(tmp_path / "m.dcm")
    frame = ds.ReferencedFrameOfReferenceSequence[0]
    listed = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].ContourImageSequence
    sources = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}
    assert {item.ReferencedSOPInstanceUID for item in listed} == set(sources)
    assert [r.ROINumber for r in ds.StructureSetROISequence] == [1, 2, 900]
    assert [r.ReferencedROINumber for r in ds.RTROIObservationsSequence] == [1, 2, 900]
    assert [r.RTROIInterpretedType for r in ds.RTROIObservationsSequence] == ["", "ORGAN", ""]
    assert (str(ds.PatientName), ds.ApprovalStatus) == (CANARY, "UNAPPROVED")
    for roi in ds.ROIContourSequence:
        for contour in roi.ContourSequence:
            source = sources[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert contour.ContourData[2] == pytest.approx(source.ImagePositionPatient[2])
            assert contour.NumberOfContourPoints * 3 == len(contour.ContourData)
            assert max(len(str(v)) for v in contour.ContourData) <= 16


def test_a_multi_frame_source_is_referenced_by_frame(tmp_path):
    path = tmp_path / "ct.dcm"
    enhanced(Phantom(), [3, 0, 5, 1, 4, 2]).save_as(path, enforce_file_format=True)
    mask = gapped_mask(read_image(path).grid)
    write_mask(mask, tmp_path / "m.dcm", reference=path, format="rtstruct")
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=path).labels, mask.labels)
    first = pydicom.dcmread(tmp_path / "m.dcm").ROIContourSequence[0].ContourSequence[0]
    assert first.ContourImageSequence[0].ReferencedFrameNumber == 2  # slice 0 is the second frame


def test_the_image_may_be_stored_with_its_axes_in_another_order(tmp_path):
    folder, grid = series(tmp_path)
    mask = gapped_mask(grid)
    write_mask(mask, tmp_path / "m.dcm", reference=folder, format="rtstruct")
    for axis in (1, 2):
        moved = mask.move_axis(axis)
        assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=moved.grid).labels, moved.labels)


def rewritten(tmp_path: Path, change) -> tuple[Path, Grid]:
    """A structure set of another program: ours, changed."""
    folder, grid = series(tmp_path)
    labels = np.zeros(grid.shape, dtype=int)
    labels[2, 2:5, 2:6] = 1
    labels[3, 1:4, 1:4] = 2
    write_mask(Mask(labels, grid, {1: "A", 2: "B"}), tmp_path / "m.dcm", reference=folder, format="rtstruct")
    ds = pydicom.dcmread(tmp_path / "m.dcm")
    change(ds)
    ds.save_as(tmp_path / "m.dcm")
    return tmp_path / "m.dcm", grid


def points_of(ds: pydicom.Dataset, roi: int) -> np.ndarray:
    return np.array(ds.ROIContourSequence[roi].ContourSequence[0].ContourData, dtype=float).reshape(-1, 3)


def set_points(ds: pydicom.Dataset, roi: int, points: np.ndarray) -> None:
    ds.ROIContourSequence[roi].ContourSequence[0].ContourData = [f"{v:.4f}" for v in points.ravel()]


def test_points_and_open_contours_are_passed_over(tmp_path):
    path, grid = rewritten(
        tmp_path, lambda ds: setattr(ds.ROIContourSequence[1].ContourSequence[0], "ContourGeometricType", "POINT")
    )
    assert read_mask(path, reference=grid).ids == (1,)


def test_a_contour_a_little_off_its_slice_is_taken_and_far_off_is_refused(tmp_path):
    path, grid = rewritten(tmp_path, lambda ds: set_points(ds, 0, points_of(ds, 0) + np.array([0, 0, 0.2])))
    assert read_mask(path, reference=grid).labels[2].sum() == 12
    path, grid = rewritten(tmp_path, lambda ds: set_points(ds, 0, points_of(ds, 0) + np.array([0, 0, 1.5])))
    with pytest.raises(GeometryError, match=r"0\.5 slices off"):
        read_mask(path, reference=grid)


def test_contours_outside_the_reference_are_refused(tmp_path):
    path, grid = rewritten(tmp_path, lambda ds: set_points(ds, 0, points_of(ds, 0) + np.array([50, 0, 0])))
    with pytest.raises(GeometryError, match="contours on the slices of the reference"):
        read_mask(path, reference=grid)


def test_a_region_within_another_is_refused_settled_or_left_out(tmp_path):
    path, grid = rewritten(tmp_path, lambda ds: set_points(ds, 1, points_of(ds, 0)))
    with pytest.raises(InputFileError, match="overlap in 12 voxels"):
        read_mask(path, reference=grid)
    assert set(np.unique(rtstruct.read_segments(path, grid, overlap="first").labels)) == {0, 1}
    assert set(np.unique(rtstruct.read_segments(path, grid, overlap="last").labels)) == {0, 2}
    assert set(np.unique(rtstruct.read_segments(path, grid, only=["b"]).labels)) == {0, 2}


def test_what_cannot_be_written_or_read_is_refused_in_words(tmp_path):
    folder, grid = series(tmp_path)
    path = tmp_path / "m.dcm"
    with pytest.raises(OutputError, match="empty"):
        write_mask(Mask(np.zeros(grid.shape, dtype=int), grid), path, reference=folder, format="rtstruct")
    with pytest.raises(OutputError, match=r"pass reference= \(--reference\)"):
        write_mask(gapped_mask(grid), path, format="rtstruct")
    picture(np.zeros((5, 7), dtype=np.uint8), "MONOCHROME2").save_as(tmp_path / "cr.dcm", enforce_file_format=True)
    flat = gapped_mask(read_image(tmp_path / "cr.dcm").grid)
    with pytest.raises(OutputError, match="no place in the patient"):
        write_mask(flat, path, reference=tmp_path / "cr.dcm", format="rtstruct")
    write_mask(gapped_mask(grid), path, reference=folder, format="rtstruct")
    with pytest.raises(GeometryError, match=r"pass reference= \(--reference\)"):
        read_mask(path)


def test_damage_is_refused_and_never_names_the_patient(tmp_path):
    folder, grid = series(tmp_path)
    path = tmp_path / "m.dcm"
    write_mask(gapped_mask(grid), path, reference=folder, format="rtstruct")
    size = path.stat().st_size
    said = read_damaged(path, grid, [140, 700, 3000, size // 2], changed=60)
    assert not any("Canary" in message for message in said)
    assert all(said[:4])  # a cut file never passes; a changed byte may lie in a name


def first_contour(ds: pydicom.Dataset, roi: int) -> pydicom.Dataset:
    return ds.ROIContourSequence[roi].ContourSequence[0]


def test_rings_that_an_exporter_calls_interpolated_are_filled(tmp_path):
    path, grid = rewritten(
        tmp_path, lambda ds: setattr(first_contour(ds, 1), "ContourGeometricType", "INTERPOLATED_PLANAR")
    )
    labels = read_mask(path, reference=grid).labels
    assert (labels == 1).sum() == 12
    assert (labels == 2).sum() == 9


@pytest.mark.parametrize("kind", ["CLOSED_SPLINE", "", "Doe^Jane 1901"])
def test_a_type_that_is_not_known_is_named_and_not_lost(tmp_path, kind):
    path, grid = rewritten(tmp_path, lambda ds: setattr(first_contour(ds, 1), "ContourGeometricType", kind))
    words = kind if kind == "CLOSED_SPLINE" else "without a valid type"
    with pytest.raises(InputFileError, match=f"has contours {words} in region 2") as caught:
        read_mask(path, reference=grid)
    assert "Jane" not in str(caught.value)
    assert read_mask(path, reference=grid, only="A").ids == (1,)


@pytest.mark.parametrize("points", [[], ["1", "2", "106"], ["1", "2", "106", "2", "2", "106"]])
def test_contours_without_an_inside_are_passed_over(tmp_path, points):
    def add_empty(ds: pydicom.Dataset) -> None:
        contour = pydicom.Dataset()
        contour.ContourGeometricType, contour.ContourData = "CLOSED_PLANAR", points
        contour.NumberOfContourPoints = len(points) // 3
        contours = ds.ROIContourSequence[0].ContourSequence
        ds.ROIContourSequence[0].ContourSequence = [contour, *contours]
        ds.ROIContourSequence[1].ContourSequence = [contour]

    path, grid = rewritten(tmp_path, add_empty)
    labels = read_mask(path, reference=grid).labels
    assert labels[2].sum() == labels.sum() == 12


def test_commas_in_contours_are_points_and_text_names_the_attribute(tmp_path):
    path, grid = rewritten(tmp_path, lambda ds: None)
    whole = read_mask(path, reference=grid).labels
    stored = path.read_bytes()
    ds = pydicom.dcmread(path)
    data = "\\".join(str(value) for value in first_contour(ds, 0).ContourData).encode()
    path.write_bytes(stored.replace(data, data.replace(b".", b",")))
    assert np.array_equal(read_mask(path, reference=grid).labels, whole)
    path.write_bytes(stored.replace(data, b"x" + data[1:]))
    with pytest.raises(InputFileError, match="ContourData that are not points"):
        read_mask(path, reference=grid)


def test_contours_of_several_phases_on_one_slice_are_not_united(tmp_path):
    def add_phase(ds: pydicom.Dataset) -> None:
        again = copy.deepcopy(first_contour(ds, 0))
        again.ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
        ds.ROIContourSequence[0].ContourSequence = [first_contour(ds, 0), again]

    path, grid = rewritten(tmp_path, add_phase)
    with pytest.raises(InputFileError, match="contours of several images"):
        read_mask(path, reference=grid)
    assert read_mask(path, reference=grid, only="B").ids == (2,)


def test_a_deflated_structure_set_is_read(tmp_path):
    path, grid = rewritten(tmp_path, lambda ds: None)
    whole = read_mask(path, reference=grid).labels
    ds = pydicom.dcmread(path)
    _ = [contour.ContourData for roi in ds.ROIContourSequence for contour in roi.ContourSequence]
    ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    ds.save_as(path, implicit_vr=False, little_endian=True)
    assert np.array_equal(read_mask(path, reference=grid).labels, whole)
