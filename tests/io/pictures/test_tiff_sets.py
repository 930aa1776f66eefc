"""OME-TIFF sets: read whole, or refused by the name of what is missing; nothing outside the folder is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import medsam
from medsam.errors import InputFileError

PLANES = np.arange(4 * 3 * 5, dtype=np.uint8).reshape(4, 3, 5)


def write_set(folder: Path, second: str = "b.ome.tif", *, compression: str | None = None, planes: int = 4) -> Path:
    """Two files of two slices each, described in both."""
    folder.mkdir(exist_ok=True)
    ids = {"a.ome.tif": "urn:uuid:1", second: "urn:uuid:2"}
    data = "".join(
        f'<TiffData IFD="{k % 2}" FirstZ="{k}" PlaneCount="1"><UUID FileName="{name}">{ids[name]}</UUID></TiffData>'
        for k, name in enumerate(["a.ome.tif"] * 2 + [second] * (planes - 2))
    )
    for number, name in enumerate(ids):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{ids[name]}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="5" SizeY="3" '
            f'SizeZ="4" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
        )
        (folder / name).parent.mkdir(exist_ok=True)
        half = PLANES[2 * number : 2 * number + 2]
        tifffile.imwrite(folder / name, half, description=xml, metadata=None, compression=compression)
    return folder / "a.ome.tif"


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_whole_set_is_one_image(tmp_path: Path, compression: str | None) -> None:
    assert np.array_equal(medsam.read_image(write_set(tmp_path, compression=compression)).values, PLANES)
    assert np.array_equal(medsam.read_mask(tmp_path / "b.ome.tif").labels, PLANES)


def test_half_a_set_is_refused_by_the_name_of_the_other_half(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(InputFileError, match=r"'b\.ome\.tif' is not beside it"):
        medsam.read_image(path)


@pytest.mark.parametrize("how", ["../elsewhere/b.ome.tif", "absolute", "link"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "in"
    if how == "link":
        path = write_set(folder)
        (folder / "b.ome.tif").rename(tmp_path / "b.ome.tif")
        (folder / "b.ome.tif").symlink_to(tmp_path / "b.ome.tif")
    else:
        (tmp_path / "elsewhere").mkdir()
        path = write_set(folder, str(tmp_path / "elsewhere" / "b.ome.tif") if how == "absolute" else how)
    with pytest.raises(InputFileError, match="not beside it"):
        medsam.read_image(path)


def test_a_plane_that_no_file_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="4 planes, of which 1 are in no file"):
        medsam.read_image(write_set(tmp_path, planes=3))


def test_a_truncated_companion_is_refused(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    other = tmp_path / "b.ome.tif"
    with tifffile.TiffFile(other, mode="r+", is_ome=False) as file:
        file.pages[0].tags["StripOffsets"].overwrite(1 << 20)
    with pytest.raises(InputFileError):
        medsam.read_image(path)


def test_a_file_described_elsewhere_is_refused(tmp_path: Path) -> None:
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<BinaryOnly MetadataFile="x.companion.ome" UUID="urn:uuid:9"/></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANES, photometric="minisblack", description=xml, metadata=None)
    with pytest.raises(InputFileError, match=r"x\.companion\.ome"):
        medsam.read_image(tmp_path / "a.ome.tif")


def test_a_renamed_file_that_stands_alone_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANES, photometric="minisblack", ome=True, metadata={"axes": "ZYX"})
    (tmp_path / "a.ome.tif").rename(tmp_path / "renamed.tif")
    assert np.array_equal(medsam.read_image(tmp_path / "renamed.tif").values, PLANES)
