"""Which slice each frame of a SEG is: by its place, or by the frame of the cine it names; never two on one."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, picture, write_series
from pydicom import Dataset

from medsam import Grid, Mask, read_image, read_mask, write_mask
from medsam.errors import InputFileError


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def cine_seg(folder, frames: list[int | None], sources: list[str] | None = None):
    """A SEG without places: row r of frame r is set; each frame names a frame of its source, or none."""
    write_series(folder / "ct", Phantom(depth=1, rows=8))
    grid = read_image(folder / "ct").grid
    write_mask(Mask(np.ones(grid.shape, np.uint8), grid), folder / "m.dcm", reference=folder / "ct")
    ds = pydicom.dcmread(folder / "m.dcm")
    del ds.FrameOfReferenceUID, ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    if "DerivationImageSequence" in ds.SharedFunctionalGroupsSequence[0]:
        del ds.SharedFunctionalGroupsSequence[0].DerivationImageSequence
    groups = []
    for k, number in enumerate(frames):
        group = item(SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)])
        if number is not None:
            source = item(ReferencedSOPInstanceUID=sources[k] if sources else "1.2.3", ReferencedFrameNumber=number)
            group.DerivationImageSequence = [item(SourceImageSequence=[source])]
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = groups
    pixels = np.zeros((len(frames), 8, 9), np.uint8)
    for k in range(len(frames)):
        pixels[k, k] = 1
    packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds.NumberOfFrames = len(frames)
    ds.save_as(folder / "us.dcm", enforce_file_format=True)
    return folder / "us.dcm", pixels


def test_frames_of_a_cine_lie_on_the_frames_that_they_name(tmp_path):
    path, pixels = cine_seg(tmp_path, [1, 5, 3])
    labels = read_mask(path).labels
    assert labels.shape == (5, 8, 9)
    assert np.array_equal(labels[[0, 4, 2]], pixels)
    assert labels.sum() == 27
    picture(np.zeros((7, 8, 9), np.uint8), "MONOCHROME2").save_as(tmp_path / "cine", enforce_file_format=True)
    on_cine = read_mask(path, reference=read_image(tmp_path / "cine")).labels
    assert on_cine.shape == (7, 8, 9)
    assert np.array_equal(on_cine[[0, 4, 2]], pixels)


@pytest.mark.parametrize(
    ("frames", "sources", "words"),
    [
        ([1, 1], None, "1 of 2 frames at the place of another frame of the same segment"),
        ([None, None], None, "1 of 2 frames at the place of another"),
        ([1, 2], ["1.2.3", "1.2.4"], "lies on 2 images without a place"),
        ([1, 0], None, "frames that name no frame of their source"),
        ([1, None, 2], None, "frames that name no frame of their source"),
        ([1, 10**8], None, "names frame 100000000"),
    ],
)
def test_moments_are_never_painted_over_each_other(tmp_path, frames, sources, words):
    path, _ = cine_seg(tmp_path, frames, sources)
    with pytest.raises(InputFileError, match=words):
        read_mask(path)


def test_phases_of_one_place_are_not_united(tmp_path):
    write_series(tmp_path / "ct", Phantom(depth=2, rows=8))
    grid = read_image(tmp_path / "ct").grid
    write_mask(Mask(np.ones(grid.shape, np.uint8), grid), tmp_path / "m.dcm", reference=tmp_path / "ct")
    ds = pydicom.dcmread(tmp_path / "m.dcm")
    first, second = ds.PerFrameFunctionalGroupsSequence
    second.PlanePositionSequence = first.PlanePositionSequence
    ds.save_as(tmp_path / "m.dcm", enforce_file_format=True)
    with pytest.raises(InputFileError, match="moments of a cine or phases of one place"):
        read_mask(tmp_path / "m.dcm", reference=Grid(grid.shape, affine=grid.affine))
