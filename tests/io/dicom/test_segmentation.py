"""DICOM SEG: the same voxels back at the same place, or an error that says why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_phantom import (
    CANARY,
    Phantom,
    dataset,
    enhanced,
    picture,
    random_mask,
    read_damaged,
    series,
    turned,
    write_series,
)
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from medsam import read_image, read_mask, write_mask
from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.imaging.image import Grid, Mask
from medsam.io.dicom import segmentation as dicom_seg

KINDS = ["dicom-seg", "dicom-seg:LABELMAP", "dicom-seg:FRACTIONAL"]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_names_and_colours_come_back(tmp_path, kind):
    folder, grid = series(tmp_path)
    mask = random_mask(grid, ids=(1, 2, 40))
    write_mask(mask, tmp_path / "m.dcm", reference=folder, format=kind)
    back = read_mask(tmp_path / "m.dcm", reference=folder)
    assert np.array_equal(back.labels, mask.labels)
    assert dict(back.names) == {1: "Tumor", 2: "left kidney"}
    assert (back.colors[1], back.colors[2]) == ((255, 0, 0), (1, 2, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_stated_codes_come_back(tmp_path, kind):
    folder, grid = series(tmp_path)
    codes = {2: ("SCT", "10200004", "Liver"), 3: ("99LOCAL", "A1", "Part 8")}
    write_mask(replace(random_mask(grid), codes=codes), tmp_path / "m.dcm", reference=folder, format=kind)
    assert dict(read_mask(tmp_path / "m.dcm", reference=folder).codes) == codes
    items = {item.SegmentLabel: item for item in pydicom.dcmread(tmp_path / "m.dcm").SegmentSequence}
    assert items["left kidney"].SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    assert items["left kidney"].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.floats(-180, 180)] * 3), st.booleans(), st.floats(-30, 30),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(8, 11)), st.sampled_from(KINDS), st.integers(0, 2**31),
)  # fmt: skip
def test_any_orientation_flip_and_tilt_keeps_every_voxel_in_its_place(
    tmp_path, angles, mirrored, tilt, size, kind, seed
):
    folder = tmp_path / f"series{abs(hash((angles, tilt, size, seed, mirrored)))}"
    phantom = Phantom(*size, turn=turned(*angles, mirrored=mirrored), tilt_degrees=tilt if size[0] > 1 else 0)
    write_series(folder, phantom)
    try:
        grid = read_image(folder, geometry="resample").grid
    except GeometryError:  # a tilt that would make many times the voxels
        reject()
    mask = random_mask(grid, seed)
    write_mask(mask, tmp_path / "m.dcm", reference=folder, format=kind)
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=grid).labels, mask.labels)
    own = read_mask(tmp_path / "m.dcm")  # on its own grid: every foreground voxel at the same place
    assert sorted(own.labels[own.labels > 0].tolist()) == sorted(mask.labels[mask.labels > 0].tolist())
    for label in mask.ids:
        here = own.grid.to_world(np.argwhere(own.labels == label))
        there = mask.grid.to_world(np.argwhere(mask.labels == label))
        gap = np.linalg.norm(here[:, None] - there[None], axis=2).min(axis=1).max()
        assert gap < 0.01


def test_every_slice_points_to_its_source(tmp_path):
    folder = tmp_path / "series"
    paths = write_series(folder, Phantom())
    grid = read_image(folder).grid
    labels = np.zeros(grid.shape, dtype=int)
    labels[2, 1, 1] = labels[4, 2, 2] = 1
    write_mask(Mask(labels, grid), tmp_path / "m.dcm", reference=folder)
    seg = pydicom.dcmread(tmp_path / "m.dcm")
    assert seg.NumberOfFrames == 2
    by_uid = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, paths)}
    slices = []
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = by_uid[group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert source.ImagePositionPatient == group.PlanePositionSequence[0].ImagePositionPatient
        slices.append(source.InstanceNumber - 1)
    assert sorted(slices) == [2, 4]
    assert (
        seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices == 3
    )  # not the header's 9.5
    assert seg.SegmentationType == "BINARY"


def test_coded_meanings_and_what_is_copied_of_the_patient(tmp_path):
    folder, grid = series(tmp_path)
    write_mask(random_mask(grid), tmp_path / "m.dcm", reference=folder)
    seg = pydicom.dcmread(tmp_path / "m.dcm")
    one, two, three = seg.SegmentSequence
    assert one.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"
    assert two.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Kidney"
    side = two.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeMeaning == "Left"
    assert three.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99MEDSAM"
    assert {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert (str(seg.PatientName), seg.PatientID) == (CANARY, "CANARY-ID")
    assert str(seg.get("ContentCreatorName", "")) == ""
    assert seg.StudyInstanceUID == pydicom.dcmread(next(folder.iterdir())).StudyInstanceUID


def test_names_in_other_scripts_and_a_source_in_latin_1(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    for k in range(3):
        ds = dataset(Phantom(depth=3), k)
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.PatientName = "Müller^Jörg"
        ds.save_as(folder / str(k), enforce_file_format=True)
    grid = read_image(folder).grid
    mask = Mask(np.ones(grid.shape, dtype=int), grid, {1: "腫瘍 Läsion"})
    write_mask(mask, tmp_path / "m.dcm", reference=folder)
    assert read_mask(tmp_path / "m.dcm").names[1] == "腫瘍 Läsion"
    assert str(pydicom.dcmread(tmp_path / "m.dcm").PatientName) == "Müller^Jörg"


@pytest.mark.parametrize("kind", KINDS)
def test_a_multi_frame_source_in_any_frame_order(tmp_path, kind):
    path = tmp_path / "ct.dcm"
    enhanced(Phantom(turn=turned(3, 4, 5)), [3, 0, 5, 1, 4, 2]).save_as(path, enforce_file_format=True)
    mask = random_mask(read_image(path).grid)
    write_mask(mask, tmp_path / "m.dcm", reference=path, format=kind)
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=path).labels, mask.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_image_without_a_place(tmp_path, kind):
    path = tmp_path / "cr.dcm"
    ds = picture(np.arange(35, dtype=np.uint8).reshape(5, 7), "MONOCHROME2")
    del ds.FrameOfReferenceUID
    ds.save_as(path, enforce_file_format=True)
    mask = random_mask(read_image(path).grid)
    write_mask(mask, tmp_path / "m.dcm", reference=path, format=kind)
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=path).labels, mask.labels)
    assert np.array_equal(read_mask(tmp_path / "m.dcm").labels, mask.labels)


def test_a_cine_without_a_place_is_refused_in_words(tmp_path):
    path = tmp_path / "us.dcm"
    ds = picture(np.zeros((4, 5, 7), dtype=np.uint8), "MONOCHROME2")
    del ds.FrameOfReferenceUID
    ds.save_as(path, enforce_file_format=True)
    with pytest.raises(OutputError, match="without a place"):
        write_mask(random_mask(read_image(path).grid), tmp_path / "m.dcm", reference=path)
    assert not (tmp_path / "m.dcm").exists()


def test_gaps_that_were_resampled_are_written_with_what_lies_on_a_source_slice_pointing_to_it(tmp_path):
    folder, grid = series(tmp_path, Phantom(missing=(3,)))
    mask = Mask(np.ones(grid.shape, dtype=int), grid)
    write_mask(mask, tmp_path / "m.dcm", reference=folder)
    seg = pydicom.dcmread(tmp_path / "m.dcm")
    pointing = [
        "DerivationImageSequence" in g and bool(g.DerivationImageSequence) for g in seg.PerFrameFunctionalGroupsSequence
    ]
    assert sum(pointing) == 5
    assert len(pointing) == 6


def test_a_mask_drawn_on_the_voxels_in_another_order_fits_too(tmp_path):
    folder, grid = series(tmp_path)
    mask = random_mask(grid)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (grid.shape[1] - 1)
    affine[:3, 1] *= -1  # rows from below, as NIfTI tools leave them
    write_mask(Mask(mask.labels[:, ::-1], Grid(grid.shape, affine=affine)), tmp_path / "m.dcm", reference=folder)
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=folder).labels, mask.labels)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_three_hundred_labels(tmp_path, kind):
    folder, grid = series(tmp_path, Phantom(depth=3, rows=10, columns=10))
    mask = Mask(np.arange(1, 301).reshape(3, 10, 10) * 3, grid)
    write_mask(mask, tmp_path / "m.dcm", reference=folder, format=kind)
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=folder).labels, mask.labels)


def test_a_seg_is_read_on_the_image_it_lies_on_and_its_missing_frames_are_empty(tmp_path):
    folder, grid = series(tmp_path)
    labels = np.zeros(grid.shape, dtype=int)
    labels[1], labels[5] = 1, 2
    write_mask(Mask(labels, grid), tmp_path / "m.dcm", reference=folder)
    alone = read_mask(tmp_path / "m.dcm")
    assert alone.labels.shape == (5, 7, 9)  # frames 1 and 5, and the three between them
    assert np.array_equal(read_mask(tmp_path / "m.dcm", reference=folder).labels, labels)
    only_one = np.where(labels == 2, 2, 0)
    write_mask(Mask(only_one, grid), tmp_path / "one.dcm", reference=folder)
    assert np.array_equal(read_mask(tmp_path / "one.dcm", reference=grid).labels, only_one)


def overlapping_seg(folder: Path, path: Path) -> None:
    sources = [pydicom.dcmread(p) for p in sorted(folder.iterdir())]
    sources.sort(key=lambda ds: ds.InstanceNumber)
    for ds in sources:
        for keyword in ("PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
            setattr(ds, keyword, "")
    pixels = np.zeros((len(sources), 7, 9, 2), dtype=np.uint8)
    pixels[:, :4, :, 0] = 1
    pixels[:, 3:, :, 1] = 1
    code = pydicom.sr.coding.Code("85756007", "SCT", "Tissue")
    segments = [
        highdicom.seg.SegmentDescription(n, name, code, code, algorithm_type="MANUAL")
        for n, name in ((1, "A"), (2, "B"))
    ]
    seg = highdicom.seg.Segmentation(
        sources, pixels, "BINARY", segments, highdicom.UID(), 1, highdicom.UID(), 1, "m", "m", "1", "1"
    )
    seg.save_as(path)


def test_overlapping_segments_of_others_are_refused_or_settled(tmp_path):
    folder, grid = series(tmp_path)
    overlapping_seg(folder, tmp_path / "m.dcm")
    with pytest.raises(InputFileError, match=r"1 \('A'\) and 2 \('B'\) overlap in 54 voxels"):
        read_mask(tmp_path / "m.dcm", reference=folder)
    first = dicom_seg.read_segments(tmp_path / "m.dcm", grid, overlap="first").labels
    last = dicom_seg.read_segments(tmp_path / "m.dcm", grid, overlap="last").labels
    assert first[0, :, 0].tolist() == [1, 1, 1, 1, 2, 2, 2]
    assert last[0, :, 0].tolist() == [1, 1, 1, 2, 2, 2, 2]
    only = dicom_seg.read_segments(tmp_path / "m.dcm", grid, only=["b"]).labels
    assert only[0, :, 0].tolist() == [0, 0, 0, 2, 2, 2, 2]


def test_masks_that_do_not_belong_to_the_reference_are_refused(tmp_path):
    folder, grid = series(tmp_path)
    with pytest.raises(OutputError, match=r"pass reference= \(--reference\)"):
        write_mask(random_mask(grid), tmp_path / "m.dcm")
    with pytest.raises(InputFileError, match="does not exist"):
        write_mask(random_mask(grid), tmp_path / "m.dcm", reference=tmp_path / "nowhere")
    moved = grid.affine.copy()
    moved[0, 3] += 0.2
    for other in (Grid(grid.shape, affine=moved), Grid((6, 7, 10), affine=grid.affine), Grid((5, 7, 9))):
        with pytest.raises(GeometryError, match="lies on no series"):
            write_mask(random_mask(other), tmp_path / "m.dcm", reference=folder)
    with pytest.raises(OutputError, match="0 labels"):
        write_mask(Mask(np.zeros(grid.shape, dtype=int), grid), tmp_path / "m.dcm", reference=folder)
    with pytest.raises(OutputError, match="BINARY, LABELMAP, FRACTIONAL"):
        write_mask(random_mask(grid), tmp_path / "m.dcm", reference=folder, format="dicom-seg:SURFACE")
    assert not (tmp_path / "m.dcm").exists()
    write_mask(random_mask(grid), tmp_path / "m.dcm", reference=folder)
    with pytest.raises(GeometryError, match=r"mm away|leave the reference out"):
        read_mask(tmp_path / "m.dcm", reference=Grid(grid.shape, affine=moved))


def test_what_is_no_mask_is_refused_in_words(tmp_path):
    folder, grid = series(tmp_path)
    with pytest.raises(InputFileError, match="CT Image Storage, an image"):
        read_mask(folder)
    write_mask(random_mask(grid), folder / "m.dcm", reference=folder)
    assert np.array_equal(
        read_mask(folder, reference=grid).labels, random_mask(grid).labels
    )  # the only SEG of a folder
    write_mask(random_mask(grid), folder / "n.dcm", reference=folder)
    with pytest.raises(InputFileError, match="2 segmentations"):
        read_mask(folder)


def test_damage_is_refused_and_never_names_the_patient(tmp_path):
    folder, grid = series(tmp_path)
    path = tmp_path / "m.dcm"
    write_mask(random_mask(grid), path, reference=folder)
    size = path.stat().st_size
    said = read_damaged(path, grid, [0, 100, 140, 1000, size // 2, size - 20], changed=40)
    assert not any("Canary" in message for message in said)
    assert all(said[:6])  # a cut file never passes; a changed byte may lie in a name
