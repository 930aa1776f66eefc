"""What a job reads: a scan by its path or its PACS address, read and normalized once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medsam.imaging.image import Grid, Image, find_slice_axis
from medsam.imaging.intensity import normalize
from medsam.io.dicom.pacs_address import is_address, parse_address
from medsam.io.formats import read_image
from medsam.jobs.options import FileOptions, IntensityOptions, Plane


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan ready for a model.

    Args:
        path: Its file or folder on this machine.
        image: Normalized, in the file's own order of axes.
        axis: The array axis that the slices meant are stacked along.
    """

    path: Path
    image: Image
    axis: int

    @property
    def sliced(self) -> Image:
        """The image with these slices first."""
        return self.image.move_axis(self.axis)


@contextmanager
def local_path(source: str | Path) -> Iterator[Path]:
    """Give the path of a source on this machine; a series of a PACS is fetched into a folder that goes away again.

    Raises:
        RemoteError: the PACS is away or refuses. InputFileError: the address names no series.
    """
    if not is_address(source):
        yield Path(source)
        return
    from medsam.io.dicom.web import fetch

    with tempfile.TemporaryDirectory(prefix="medsam-") as folder:
        series = Path(folder) / "series"
        fetch(parse_address(str(source)), series)
        files = sorted(series.iterdir())
        yield files[0] if len(files) == 1 else series  # one object, as a segmentation, is a file


def read_grid(reference: str | Path, file: FileOptions) -> Grid:
    """Read the grid of the image that a mask belongs to; `file` says which series of it is meant.

    Raises:
        MedsamError: a reference that cannot be read, or that holds several series and none is chosen.
    """
    with local_path(reference) as path:  # all volumes of a file lie on one grid
        return read_image(path, series=file.series, geometry=file.geometry, volume=0).grid


def store_result(source: str | Path, output: Path, *, reference: Path | None = None) -> None:
    """Store a DICOM result beside the series it belongs to, where that lies in a PACS.

    Args:
        source: What it was made from.
        output: The result.
        reference: The series that it belongs to, None for the source itself.

    Raises:
        RemoteError: the PACS is away or refuses.
    """
    place = reference if is_address(reference) else source
    if is_address(place) and output.suffix.lower() == ".dcm":
        from medsam.io.dicom.web import store

        store(parse_address(str(place)), [output])


def read_scan(path: Path, file: FileOptions, intensity: IntensityOptions, plane: Plane | None = None) -> Scan:
    """Read and normalize a scan.

    Args:
        path: On this machine.
        file: Which image of it.
        intensity: Its modality and window.
        plane: The slices that are meant; None is the file's own storage order.

    Raises:
        MedsamError: a file that cannot be read or normalized, or a plane that it does not have.
    """
    stored = read_image(
        path, modality=intensity.modality, series=file.series, geometry=file.geometry, volume=file.volume
    )
    image = normalize(stored, window=intensity.window)
    return Scan(path, image, find_slice_axis(image.grid, plane or 0))
