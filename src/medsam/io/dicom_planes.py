"""The 2D frames of a DICOM object and what its header says of each: size, place, value transformation, window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medsam.errors import InputFileError
from medsam.imaging.modality import Window
from medsam.io.dicom_files import RECOPY, Instance, untrusted

# What may tell two volumes of one series apart when they lie at the same positions, in the order it is tried.
TRAITS = (
    "AcquisitionNumber", "TemporalPositionIdentifier", "TemporalPositionIndex", "EchoNumbers", "EffectiveEchoTime",
    "EchoTime", "DiffusionBValue", "ComplexImageComponent", "TriggerTime", "InversionTime", "ConvolutionKernel",
    "ImageType", "AcquisitionTime", "ContentTime",
)  # fmt: skip
# In the patient, else in the frame of reference of a 3D ultrasound probe, which is in mm too.
POSITIONS = (
    ("PlanePositionSequence", "ImagePositionPatient"),
    ("PlanePositionVolumeSequence", "ImagePositionVolume"),
)
ORIENTATIONS = (
    ("PlaneOrientationSequence", "ImageOrientationPatient"),
    ("PlaneOrientationVolumeSequence", "ImageOrientationVolume"),
)
HIDDEN_TRAITS = frozenset({"AcquisitionTime", "ContentTime"})  # split by them, but never print them
MAX_FRAMES = 100_000
SANE = 1e12  # no millimetre, slope or window is larger
FRAME_BYTES = 8  # no compressed frame is shorter than the head of its item


@dataclass(frozen=True, eq=False)
class Plane:
    """One frame of one object.

    Args:
        instance: The object it is in.
        frame: Its index there, from 0.
        series: SeriesInstanceUID.
        shape: (rows, columns, samples per pixel).
        position_mm: LPS mm (x, y, z) of the centre of the first pixel, None if the header does not say.
        axes: (2, 3), unit LPS vectors along increasing column index and row index; None if the header does not say.
        spacing_mm: Distance between (rows, columns) in mm, None if the header does not say.
        thickness_mm: Extent of the only slice of an image; never used as a distance between slices.
        slope: Modality rescale slope.
        intercept: Modality rescale intercept.
        window: The first window of the frame.
        number: InstanceNumber, or the frame index in a multi-frame object.
        stack: Which stack of a multi-frame object, "" without.
        traits: Values of TRAITS.
        localizer: Whether it is a scout.
    """

    instance: Instance
    frame: int
    series: str
    shape: tuple[int, int, int]
    position_mm: NDArray[np.float64] | None
    axes: NDArray[np.float64] | None
    spacing_mm: tuple[float, float] | None
    thickness_mm: float
    slope: float
    intercept: float
    window: Window | None
    number: int
    stack: str
    traits: tuple[str, ...]
    localizer: bool


def planes_of(instance: Instance) -> list[Plane]:
    """List the frames of one object.

    Raises:
        InputFileError: the header is broken, contradicts itself, or declares more pixels than the file holds.
    """
    with untrusted(instance.name):
        header = instance.header
        frames = int(header.get("NumberOfFrames") or 1)
        _refuse_unreadable(instance, frames)
        shared = _first(header, "SharedFunctionalGroupsSequence")
        groups = header.get("PerFrameFunctionalGroupsSequence")
        if groups is not None and len(groups) != frames:
            raise InputFileError(
                f"{instance.name} declares {frames} frames but describes {len(groups)}",
                expected="one description per frame",
                fix=RECOPY,
            )
        empty = Dataset()
        if groups is None:
            first = _plane(instance, 0, (shared or empty, header), flat=frames > 1)
            return [first if frames == 1 else replace(first, frame=i, number=i) for i in range(frames)]
        return [_plane(instance, i, (own, shared or empty, header), flat=False) for i, own in enumerate(groups)]


def _refuse_unreadable(instance: Instance, frames: int) -> None:
    header, name = instance.header, instance.name
    if "TotalPixelMatrixColumns" in header:
        raise InputFileError(
            f"{name} is a tiled whole-slide image", expected="an image or a volume", fix="read it as a slide"
        )
    rows, columns, samples = int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel", 1))
    if not (0 < frames <= MAX_FRAMES and rows > 0 and columns > 0 and samples in (1, 3)):
        raise InputFileError(
            f"{name} declares {frames} frames of {rows} x {columns} pixels with {samples} samples",
            expected="at least one pixel with 1 or 3 samples",
            fix=RECOPY,
        )
    subsampled = header.get("PhotometricInterpretation") == "YBR_FULL_422"
    bits = rows * columns * frames * int(header.BitsAllocated) * (2 if subsampled else samples)
    least = FRAME_BYTES * frames if instance.encapsulated else (bits + 7) // 8
    if least > instance.pixel_bytes:
        raise InputFileError(
            f"{name} declares at least {least} bytes of pixels and holds {instance.pixel_bytes}",
            expected="a whole file",
            fix=RECOPY,
        )


def _first(dataset: Dataset, keyword: str) -> Dataset | None:
    sequence = dataset.get(keyword)
    return sequence[0] if sequence else None


@dataclass(frozen=True)
class _Groups:
    """Looks a value up in a frame's own functional groups, then the shared ones, then the top of the header."""

    levels: Sequence[Dataset]

    def get(self, group: str, keyword: str) -> object:
        for dataset in self._places(group):
            value = dataset.get(keyword)
            if value is not None and value != "":
                return value
        return None

    def first(self, homes: Sequence[tuple[str, str]]) -> object:
        """The first of several values that is there, each given by its group and keyword."""
        return next((value for group, keyword in homes if (value := self.get(group, keyword)) is not None), None)

    def _places(self, group: str) -> Iterator[Dataset]:
        for level in self.levels[:-1]:
            found = _first(level, group)
            if found is not None:
                yield found
        yield self.levels[-1]


def _plane(instance: Instance, frame: int, levels: Sequence[Dataset], *, flat: bool) -> Plane:
    """Describe one frame; a flat multi-frame object (a cine) has one header for all frames, so no frame has a place."""
    header, groups = instance.header, _Groups(levels)
    position = None if flat else _floats(groups.first(POSITIONS), 3)
    orientation = None if flat else _floats(groups.first(ORIENTATIONS), 6)
    kinds = groups.get("MRImageFrameTypeSequence", "FrameType") or header.get("ImageType")
    kind = [str(part).upper() for part in _several(kinds)]
    transformed = "PixelValueTransformationSequence"
    return Plane(
        instance=instance,
        frame=frame,
        series=str(header.get("SeriesInstanceUID") or ""),
        shape=(int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel", 1))),
        position_mm=position,
        axes=_axes(orientation, instance.name),
        spacing_mm=_pixel_spacing(groups, header),
        thickness_mm=_positive(groups.get("PixelMeasuresSequence", "SliceThickness")) or 1.0,
        slope=_number(groups.get(transformed, "RescaleSlope"), 1.0) or 1.0,
        intercept=_number(groups.get(transformed, "RescaleIntercept"), 0.0),
        window=_window(groups),
        number=frame if len(levels) > 2 or flat else int(_number(header.get("InstanceNumber"), 0.0)),
        stack=str(groups.get("FrameContentSequence", "StackID") or ""),
        traits=tuple(_trait(groups, name, kind) for name in TRAITS),
        localizer="LOCALIZER" in kind,
    )


_TRAIT_HOMES = {
    "TemporalPositionIndex": "FrameContentSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "AcquisitionNumber": "FrameContentSequence",
}


def _trait(groups: _Groups, name: str, kind: list[str]) -> str:
    if name == "ImageType":
        return "\\".join(kind)
    value = groups.get(_TRAIT_HOMES.get(name, ""), name)
    if name == "AcquisitionNumber" and value is None:
        value = groups.get("FrameContentSequence", "FrameAcquisitionNumber")
    return "" if value is None else str(value)


def _several(value: object) -> Sequence[object]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) or not hasattr(value, "__iter__") else tuple(value)


def _floats(value: object, count: int) -> NDArray[np.float64] | None:
    """`count` sane numbers, or None if there is no value at all; anything between is an error of the file."""
    parts = _several(value)
    if not parts:
        return None
    numbers = np.array([float(str(part)) for part in parts])
    if len(numbers) != count or not (np.abs(numbers) < SANE).all():  # NaN is not below anything either
        raise ValueError("not a vector")
    return numbers


def _number(value: object, default: float) -> float:
    numbers = _floats(_several(value)[:1], 1)
    return default if numbers is None else float(numbers[0])


def _positive(value: object) -> float | None:
    number = _number(value, 0.0)
    return number if number > 0 else None


def _axes(orientation: NDArray[np.float64] | None, name: str) -> NDArray[np.float64] | None:
    if orientation is None:
        return None
    axes = orientation.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 1e-3 or abs(axes[0] @ axes[1]) > 1e-3:
        raise InputFileError(
            f"{name} has an image orientation that is not two perpendicular directions",
            expected="unit vectors at right angles",
            fix=RECOPY,
        )
    return np.asarray(axes / lengths[:, None])


def _pixel_spacing(groups: _Groups, header: Dataset) -> tuple[float, float] | None:
    """PixelSpacing, else the spacing at the detector, of a film scanner, or of an ultrasound region."""
    places = (("PixelMeasuresSequence", "PixelSpacing"), ("", "ImagerPixelSpacing"), ("", "NominalScannedPixelSpacing"))
    for group, keyword in places:
        spacing = _floats(groups.get(group, keyword), 2)
        if spacing is not None and spacing.min() > 0:
            return float(spacing[0]), float(spacing[1])
    return _ultrasound_spacing(header)


def _ultrasound_spacing(header: Dataset) -> tuple[float, float] | None:
    regions = header.get("SequenceOfUltrasoundRegions") or ()
    tissue = [region for region in regions if region.get("RegionSpatialFormat") == 1]
    units = [tissue[0].get(f"PhysicalUnits{axis}Direction") for axis in "YX"] if len(tissue) == 1 else []
    if units != [3, 3]:  # centimetres
        return None
    centimetres = [abs(_number(tissue[0].get(f"PhysicalDelta{axis}"), 0.0)) for axis in "YX"]
    return (centimetres[0] * 10, centimetres[1] * 10) if min(centimetres) > 0 else None


def _window(groups: _Groups) -> Window | None:
    centre = groups.get("FrameVOILUTSequence", "WindowCenter")
    width = _positive(groups.get("FrameVOILUTSequence", "WindowWidth"))
    return None if centre is None or width is None else Window(width, _number(centre, 0.0))
