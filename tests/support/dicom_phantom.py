"""Synthetic DICOM series on disk whose every voxel is known: any orientation, tilt, gaps, doubles, one or many frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, generate_uid

from medsam import Grid, Mask, read_image, read_mask
from medsam.errors import MedsamError

CT, MR = UID("1.2.840.10008.5.1.4.1.1.2"), UID("1.2.840.10008.5.1.4.1.1.4")
ENHANCED = {"CT": UID("1.2.840.10008.5.1.4.1.1.2.1"), "MR": UID("1.2.840.10008.5.1.4.1.1.4.1")}
CANARY = "Canary^Patient"


@dataclass(frozen=True)
class Phantom:
    """What to write.

    Args:
        depth, rows, columns: Size.
        row_mm, column_mm: Distance between rows and between columns.
        distance_mm: Distance between slices along the normal.
        origin_mm: LPS of the first pixel of the first slice.
        turn: (3, 3) rotation; its columns are the directions of increasing column index, row index and slice.
        tilt_degrees: Gantry tilt; slices are shifted along the rows' direction of increase.
        missing: Slices that are not written.
        doubled: Slices that are written twice.
        modality: "CT" or "MR".
        slope, intercept: Rescale.
        tags: Further attributes of every slice.
    """

    depth: int = 6
    rows: int = 7
    columns: int = 9
    row_mm: float = 0.75
    column_mm: float = 0.5
    distance_mm: float = 3.0
    origin_mm: tuple[float, float, float] = (-20.0, 30.0, 100.0)
    turn: np.ndarray | None = None
    tilt_degrees: float = 0.0
    missing: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()
    modality: str = "CT"
    slope: float = 1.0
    intercept: float = 0.0
    tags: tuple[tuple[str, object], ...] = ()
    series: str = "1.2.826.0.1.3680043.8.498.1"

    @property
    def axes(self) -> np.ndarray:
        return np.eye(3) if self.turn is None else self.turn

    def position(self, k: int) -> np.ndarray:
        """LPS mm of the first pixel of slice k."""
        _, down, normal = self.axes.T
        shift = np.tan(np.radians(self.tilt_degrees)) * self.distance_mm
        return np.array(self.origin_mm) + k * (normal * self.distance_mm + down * shift)

    def world(self, index_N3: np.ndarray) -> np.ndarray:
        """LPS mm of voxels (slice, row, column), from the definition and not from the reader."""
        across, down, _ = self.axes.T
        k, r, c = np.asarray(index_N3, dtype=float).T
        start = np.array([self.position(int(i)) for i in k])
        return start + r[:, None] * down * self.row_mm + c[:, None] * across * self.column_mm

    @property
    def indices(self) -> np.ndarray:
        """(depth * rows * columns, 3) all voxel indices, in order of their identity."""
        return np.indices((self.depth, self.rows, self.columns)).reshape(3, -1).T

    def identity(self, k: int) -> np.ndarray:
        """(rows, columns) the number of each voxel of slice k: its place in `indices`."""
        count = self.rows * self.columns
        return (np.arange(count) + k * count).reshape(self.rows, self.columns)


def turned(
    x_degrees: float = 0.0, y_degrees: float = 0.0, z_degrees: float = 0.0, *, mirrored: bool = False
) -> np.ndarray:
    """A rotation for Phantom.turn; mirrored swaps rows with columns, so that the normal points the other way."""
    turn = np.eye(3)
    for axis, degrees in enumerate((x_degrees, y_degrees, z_degrees)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        one = np.eye(3)
        i, j = [a for a in range(3) if a != axis]
        one[i, i], one[i, j], one[j, i], one[j, j] = c, -s, s, c
        turn = one @ turn
    if mirrored:
        turn = turn @ np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])  # third column is now minus the DICOM normal
    return turn


def dataset(phantom: Phantom, k: int, stored: np.ndarray | None = None) -> FileDataset:
    """One slice as a data set; `stored` are its pixels, by default the identity of each voxel."""
    pixels = phantom.identity(k).astype(np.uint16) if stored is None else stored
    ds = _blank(CT if phantom.modality == "CT" else MR, phantom)
    ds.InstanceNumber = k + 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient = _ds(phantom.position(k))
    ds.ImageOrientationPatient = _ds(phantom.axes.T[:2].ravel())
    ds.PixelSpacing = _ds([phantom.row_mm, phantom.column_mm])
    ds.SliceThickness = "1.25"  # on purpose not the distance
    ds.SpacingBetweenSlices = "9.5"  # on purpose wrong
    ds.RescaleSlope, ds.RescaleIntercept = _ds([phantom.slope])[0], _ds([phantom.intercept])[0]
    set_pixels(ds, pixels)
    for keyword, value in phantom.tags:
        setattr(ds, keyword, value)
    return ds


def set_pixels(ds: Dataset, pixels: np.ndarray, photometric: str = "MONOCHROME2") -> None:
    """Put uncompressed pixels (H, W), (N, H, W), or with a last axis of 3, into a data set."""
    colour = pixels.shape[-1] == 3 and photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    ds.Rows, ds.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3 if colour else 1), photometric
    if colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = np.ascontiguousarray(pixels).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"


def write_series(folder: Path, phantom: Phantom, stored: Callable[[int], np.ndarray] | None = None) -> list[Path]:
    """Write the slices in an order and under names that say nothing; gives the paths by slice."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(phantom.depth)
    names = rng.permutation(phantom.depth * 2)
    wanted = [k for k in range(phantom.depth) if k not in phantom.missing]
    paths = []
    for number, k in enumerate([*wanted, *phantom.doubled]):
        ds = dataset(phantom, k, None if stored is None else stored(k))
        paths.append(folder / f"IM{names[number]:04d}")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def enhanced(phantom: Phantom, order: list[int] | None = None) -> FileDataset:
    """The same volume as one multi-frame object with functional groups, frames in any order."""
    order = order or [k for k in range(phantom.depth) if k not in phantom.missing] + list(phantom.doubled)
    ds = _blank(ENHANCED[phantom.modality], phantom)
    ds.NumberOfFrames = len(order)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    set_pixels(ds, np.stack([phantom.identity(k).astype(np.uint16) for k in order]))
    ds.NumberOfFrames = len(order)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_of(PixelSpacing=_ds([phantom.row_mm, phantom.column_mm]), SliceThickness="1.25")]
    shared.PlaneOrientationSequence = [_of(ImageOrientationPatient=_ds(phantom.axes.T[:2].ravel()))]
    shared.PixelValueTransformationSequence = [
        _of(RescaleSlope=_ds([phantom.slope])[0], RescaleIntercept=_ds([phantom.intercept])[0], RescaleType="HU")
    ]
    shared.FrameVOILUTSequence = [_of(WindowCenter="50", WindowWidth="350")]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number, k in enumerate(order):
        frame = Dataset()
        frame.FrameContentSequence = [_of(StackID="1", InStackPositionNumber=number + 1)]
        frame.PlanePositionSequence = [_of(ImagePositionPatient=_ds(phantom.position(k)))]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    for keyword, value in phantom.tags:
        setattr(ds, keyword, value)
    return ds


def picture(pixels: np.ndarray, photometric: str, modality: str = "US", **tags: object) -> FileDataset:
    """A 2D image or a cine without a place in the patient."""
    ds = _blank(UID("1.2.840.10008.5.1.4.1.1.7"), replace(Phantom(), modality=modality))
    set_pixels(ds, pixels, photometric)
    if pixels.ndim == (4 if ds.SamplesPerPixel == 3 else 3):
        ds.NumberOfFrames = len(pixels)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def compressed(ds: Dataset, stored: np.ndarray, syntax: UID) -> Dataset:
    """Compress one frame; JPEG 2000 and JPEG by another library than the reader's first choice."""
    if syntax not in (JPEG2000Lossless, JPEGLosslessSV1):
        ds.compress(syntax, generate_instance_uid=False)
        return ds
    import imagecodecs

    if syntax == JPEG2000Lossless:
        stream = imagecodecs.jpeg2k_encode(stored, codecformat="j2k", level=0, reversible=True)
    else:
        stream = imagecodecs.jpeg_encode(stored.view(np.uint16), lossless=True, predictor=1, bitspersample=16)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = pydicom.encaps.encapsulate([bytes(stream)])
    ds["PixelData"].is_undefined_length = True
    return ds


def _blank(kind: UID, phantom: Phantom) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.9", phantom.series
    ds.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.7"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = CANARY, "CANARY-ID", "19010203"
    ds.Modality = phantom.modality
    return ds


def _of(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def _ds(numbers: object) -> list[pydicom.valuerep.DSfloat]:
    return [pydicom.valuerep.DSfloat(float(n), auto_format=True) for n in np.asarray(numbers)]


PLAIN = Phantom()


def series(tmp_path: Path, phantom: Phantom = PLAIN) -> tuple[Path, Grid]:
    """A series on disk and the grid that it is read on."""
    write_series(tmp_path / "series", phantom)
    return tmp_path / "series", read_image(tmp_path / "series", geometry="resample").grid


def random_mask(grid: Grid, seed: int = 0, *, ids: tuple[int, ...] = (1, 2, 3), density: float = 0.4) -> Mask:
    """Labels of chance with names and colours; the first voxel has the first label."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(ids, grid.shape) * (rng.random(grid.shape) < density)
    labels.flat[0] = ids[0]
    return Mask(labels, grid, {1: "Tumor", 2: "left kidney"}, {1: (255, 0, 0), 2: (1, 2, 3)})


def read_damaged(path: Path, grid: Grid, cuts: Sequence[int], changed: int) -> list[str]:
    """Cut a mask's file to some sizes, then change four bytes of it again and again; gives what reading it says."""
    whole, rng, said = path.read_bytes(), np.random.default_rng(0), []
    damaged = [whole[:size] for size in cuts]
    for _ in range(changed):
        noisy = bytearray(whole)
        for place in rng.integers(132, len(whole), 4):
            noisy[place] = int(rng.integers(0, 256))
        damaged.append(bytes(noisy))
    for data in damaged:
        path.write_bytes(data)
        try:
            read_mask(path, reference=grid)
            said.append("")
        except MedsamError as error:
            said.append(str(error))
    return said
