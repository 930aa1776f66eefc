"""Lines of structured reports: in mm, or in pixels of a frame; whatever is damaged is one of our errors."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantom import Phantom, dataset, write_series
from pydicom import Dataset, dcmread

from medsam.errors import InputFileError, MedsamError, PromptError
from medsam.io.dicom.structured_report import is_structured_report, read_lines


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def code(value: str) -> list[Dataset]:
    return [item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning="x")]


def write_report(path, *coordinates: Dataset, name: str = "lesion A"):
    tracking = item(ValueType="TEXT", ConceptNameCodeSequence=code("112039"), TextValue=name)
    group = item(
        ValueType="CONTAINER", ConceptNameCodeSequence=code("125007"), ContentSequence=[tracking, *coordinates]
    )
    ds = dataset(Phantom(), 0)
    del ds.PixelData, ds.Rows, ds.Columns
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.34"
    ds.Modality, ds.ContentSequence = "SR", [group, group]
    ds.save_as(path, enforce_file_format=True)
    return path


def in_space(points: list[float]) -> Dataset:
    return item(ValueType="SCOORD3D", GraphicType="POLYLINE", GraphicData=points)


def on_image(points: list[float], uid: str) -> Dataset:
    image = item(ReferencedSOPSequence=[item(ReferencedSOPInstanceUID=uid)])
    return item(ValueType="SCOORD", GraphicType="POLYLINE", GraphicData=points, ContentSequence=[image])


def test_a_line_in_space_has_its_object_and_name(tmp_path):
    path = write_report(tmp_path / "sr.dcm", in_space([1, 2, 3, 4, 5, 6]), in_space([0] * 9))
    assert is_structured_report(path)
    first, second = read_lines(path, None)
    assert np.array_equal(first.points_mm, [[1, 2, 3], [4, 5, 6]])
    assert [(line.label, line.name) for line in (first, second)] == [(1, "lesion A")] * 2


def test_a_line_on_an_image_is_placed_by_its_header(tmp_path):
    slices = write_series(tmp_path / "ct", Phantom())
    uid = dcmread(slices[2]).SOPInstanceUID
    path = write_report(tmp_path / "sr.dcm", on_image([0.5, 0.5, 2.5, 4.5], uid))
    line = read_lines(path, tmp_path / "ct")[0]
    assert np.allclose(line.points_mm, Phantom().world(np.array([[2, 0, 0], [2, 4, 2]])))
    with pytest.raises(PromptError, match="stores positions as pixels"):
        read_lines(path, None)
    other = write_report(tmp_path / "other.dcm", on_image([0.5, 0.5, 2.5, 4.5], "1.2.3"))
    with pytest.raises(PromptError, match="an image that is not in the scan"):
        read_lines(other, tmp_path / "ct")


def test_a_report_without_lines_and_an_image_are_refused(tmp_path):
    with pytest.raises(InputFileError, match="holds no line in a measurement group"):
        read_lines(write_report(tmp_path / "sr.dcm"), None)
    (path,) = write_series(tmp_path / "ct", Phantom(depth=1))
    assert not is_structured_report(path)


def test_damage_is_one_of_our_errors(tmp_path):
    whole = write_report(tmp_path / "sr.dcm", in_space([1, 2, 3, 4, 5, 6])).read_bytes()
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged.dcm"
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(132, len(data), 4):
            data[place] = rng.integers(256)
        path.write_bytes(bytes(data[: rng.integers(200, len(data) + 1)]))
        try:
            is_structured_report(path)
            read_lines(path, None)
        except MedsamError:
            continue
