"""The 2D frames of a DICOM object and what its header says of each: size, place, value transformation, window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medsam.errors import InputFileError
from medsam.imaging.modality import Window
from medsam.io.dicom.attributes import read_number, read_parts, require_numbers, require_whole, to_numbers
from medsam.io.dicom.files import RECOPY, Instance, guard_parsing

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
SAME_PLACE_MM = 0.01
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


def list_planes(instance: Instance) -> list[Plane]:
    """List the frames of one object.

    Raises:
        InputFileError: the header is broken, contradicts itself, or declares more pixels than the file holds.
    """
    with guard_parsing(instance.name):
        header = instance.header
        frames = require_whole(header, "NumberOfFrames", instance.name, 1) or 1
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
    rows, columns = (require_whole(header, keyword, name) for keyword in ("Rows", "Columns"))
    samples = require_whole(header, "SamplesPerPixel", name, 1)
    if not (0 < frames <= MAX_FRAMES and rows > 0 and columns > 0 and samples in (1, 3)):
        raise InputFileError(
            f"{name} declares {frames} frames of {rows} x {columns} pixels with {samples} samples",
            expected="at least one pixel with 1 or 3 samples",
            fix=RECOPY,
        )
    least = FRAME_BYTES * frames if instance.encapsulated else count_native_bytes(header, frames)
    if least > instance.pixel_bytes:
        raise InputFileError(
            f"{name} declares at least {least} bytes of pixels and holds {instance.pixel_bytes}",
            expected="a whole file",
            fix=RECOPY,
        )


def count_native_bytes(header: Dataset, frames: int) -> int:
    """How many bytes the pixels of a header have where they are not compressed."""
    subsampled = header.get("PhotometricInterpretation") == "YBR_FULL_422"
    samples = 2 if subsampled else int(header.get("SamplesPerPixel", 1))
    bits = int(header.Rows) * int(header.Columns) * frames * int(header.BitsAllocated) * samples
    return (bits + 7) // 8


def _first(dataset: Dataset, keyword: str) -> Dataset | None:
    sequence = dataset.get(keyword)
    return sequence[0] if sequence else None


@dataclass(frozen=True)
class _Groups:
    """Looks a value up in a frame's own functional groups, then the shared ones, then the top of the header."""

    levels: Sequence[Dataset]

    name: str

    def get(self, group: str, keyword: str) -> tuple[object, ...]:
        for dataset in self._places(group):
            if parts := read_parts(dataset, keyword):
                return parts
        return ()

    def number(self, group: str, keyword: str, default: float) -> float:
        """A value that the frame can do without."""
        numbers = to_numbers(self.get(group, keyword)[:1])
        return numbers[0] if numbers else default

    def vector(self, homes: Sequence[tuple[str, str]], count: int) -> NDArray[np.float64] | None:
        """The first of several values that is there, each given by its group and keyword; what is there must be right."""
        for group, keyword in homes:
            numbers = require_numbers(self.get(group, keyword), count, keyword, self.name)
            if numbers is not None:
                return np.array(numbers)
        return None

    def _places(self, group: str) -> Iterator[Dataset]:
        for level in self.levels[:-1]:
            found = _first(level, group)
            if found is not None:
                yield found
        yield self.levels[-1]


def _rescale(groups: _Groups, header: Dataset, name: str) -> tuple[float, float]:
    """Slope and intercept of the values; an absent pair is 1 and 0, but a CT is no CT without what its header begins.

    Source: PS3.3 C.7.6.16.2.9 and C.11.1.1.2.
    """
    found = {
        keyword: groups.vector((("PixelValueTransformationSequence", keyword),), 1)
        for keyword in ("RescaleSlope", "RescaleIntercept")
    }
    if header.get("Modality") == "CT" and any(value is not None for value in found.values()):
        unusable = [keyword for keyword, value in found.items() if value is None]
        if found["RescaleSlope"] is not None and found["RescaleSlope"][0] == 0:
            unusable.append("RescaleSlope")
        if unusable:
            raise InputFileError(f"{name} has no usable {unusable[0]}", expected="a number for CT values", fix=RECOPY)
    slope, intercept = (None if value is None else float(value[0]) for value in found.values())
    return slope or 1.0, intercept or 0.0


def _plane(instance: Instance, frame: int, levels: Sequence[Dataset], *, flat: bool) -> Plane:
    """Describe one frame; a flat multi-frame object (a cine) has one header for all frames, so no frame has a place."""
    header, name, groups = instance.header, instance.name, _Groups(levels, instance.name)
    position = None if flat else groups.vector(POSITIONS, 3)
    orientation = None if flat else groups.vector(ORIENTATIONS, 6)
    kinds = groups.get("MRImageFrameTypeSequence", "FrameType") or read_parts(header, "ImageType")
    kind = [str(part).upper() for part in kinds]
    slope, intercept = _rescale(groups, header, name)
    return Plane(
        instance=instance,
        frame=frame,
        series=str(header.get("SeriesInstanceUID") or ""),
        shape=(
            require_whole(header, "Rows", name),
            require_whole(header, "Columns", name),
            require_whole(header, "SamplesPerPixel", name, 1),
        ),
        position_mm=position,
        axes=_axes(orientation, name),
        spacing_mm=_pixel_spacing(groups, header),
        thickness_mm=max(groups.number("PixelMeasuresSequence", "SliceThickness", 0.0), 0.0) or 1.0,
        slope=slope,
        intercept=intercept,
        window=_window(groups),
        number=frame if len(levels) > 2 or flat else int(read_number(header, "InstanceNumber")),
        stack="\\".join(str(part) for part in groups.get("FrameContentSequence", "StackID")),
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
    if name == "AcquisitionNumber" and not value:
        value = groups.get("FrameContentSequence", "FrameAcquisitionNumber")
    return "\\".join(str(part) for part in value)


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
        spacing = groups.vector(((group, keyword),), 2)
        if spacing is not None and spacing.min() > 0:
            return float(spacing[0]), float(spacing[1])
    return _ultrasound_spacing(header)


def _ultrasound_spacing(header: Dataset) -> tuple[float, float] | None:
    regions = header.get("SequenceOfUltrasoundRegions") or ()
    tissue = [region for region in regions if region.get("RegionSpatialFormat") == 1]
    units = [tissue[0].get(f"PhysicalUnits{axis}Direction") for axis in "YX"] if len(tissue) == 1 else []
    if units != [3, 3]:  # centimetres
        return None
    centimetres = [abs(read_number(tissue[0], f"PhysicalDelta{axis}")) for axis in "YX"]
    return (centimetres[0] * 10, centimetres[1] * 10) if min(centimetres) > 0 else None


def _window(groups: _Groups) -> Window | None:
    centre = groups.number("FrameVOILUTSequence", "WindowCenter", np.nan)
    width = groups.number("FrameVOILUTSequence", "WindowWidth", 0.0)
    return None if np.isnan(centre) or width <= 0 else Window(width, centre)


def compute_normal(plane: Plane) -> NDArray[np.float64]:
    """Unit normal of a frame with a place: row direction cross column direction, LPS."""
    assert plane.axes is not None  # noqa: S101 - callers pass frames with a place
    normal = np.cross(plane.axes[0], plane.axes[1])
    return np.asarray(normal / np.linalg.norm(normal))


def project_on_normal(planes: Sequence[Plane]) -> NDArray[np.float64]:
    """Distance in mm of each frame's position along the normal of the first one."""
    return np.array([plane.position_mm for plane in planes]) @ compute_normal(planes[0])
