"""Markers read from files that other programs write."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pydicom
import pytest
from patient_grid import GRID, mm, save
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medsam.annotation.marker_files import Target, read_markers
from medsam.errors import GeometryError, InputFileError, PromptError
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import read_image, write_mask

# Oblique to nothing, but no axis is world-aligned by chance: x runs to the right, y to anterior, z down, off the origin.
TARGET = Target(GRID)


def ras(*index):
    x, y, z = mm(*index)
    return [-x, -y, z]


def line(*ends, system="LPS"):
    points = [
        {"id": str(i), "label": f"L-{i}", "position": p, "positionStatus": "defined"}
        for i, p in enumerate(ends, start=1)
    ]
    return {"type": "Line", "coordinateSystem": system, "controlPoints": points}


@pytest.mark.parametrize(("system", "place"), [("LPS", mm), ("RAS", ras), ("0", ras)])
def test_slicer_lines_of_two_files_become_one_object(tmp_path, system, place):
    long = save(tmp_path / "L.mrk.json", {"markups": [line(place(3, 10, 5), place(3, 14, 25), system=system)]})
    short = save(tmp_path / "L_1.mrk.json", {"markups": [line(place(3, 6, 16), place(3, 18, 13), system=system)]})
    below = save(tmp_path / "L_2.mrk.json", {"markups": [line(place(6, 11, 6), place(6, 13, 22), system=system)]})
    markers = read_markers([long, short, below], TARGET).markers
    assert [(m.label, m.slice) for m in markers] == [(1, 3), (1, 6)]
    assert np.allclose(markers[0].box, (5, 6, 25, 18), atol=1e-4)


def test_slicer_roi_is_a_rectangle_on_every_slice_it_holds(tmp_path):
    centre = mm(4, 20, 25)
    roi = {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "center": centre,
        "size": [8.0, 16.0, 21.0],
        "orientation": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    }
    markers = read_markers([save(tmp_path / "R.mrk.json", {"markups": [roi]})], TARGET).markers
    assert [m.slice for m in markers] == [2, 3, 4, 5, 6]  # 21 mm: two slices of 5 mm to either side
    assert all(np.allclose(m.box, (20, 10, 30, 30)) for m in markers)


def test_files_written_by_3d_slicers_own_libraries_are_read(tmp_path):
    """Lines and ROIs as 3D Slicer keeps them in memory (RAS), written by its storage classes."""
    pytest.importorskip("slicer_core")
    import slicer_core.MRMLCore as core
    import slicer_core.vtkSlicerMarkupsModuleMRML as markups
    import vtk

    scene = core.vtkMRMLScene()
    for kind in (markups.vtkMRMLMarkupsJsonStorageNode, markups.vtkMRMLMarkupsROIJsonStorageNode):
        scene.RegisterNodeClass(kind())
    line_node = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "L")
    for end in ((3, 10, 5), (3, 14, 25)):
        line_node.AddControlPoint(vtk.vtkVector3d(*ras(*end)))
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    roi.SetCenter(*ras(4, 20, 25))
    roi.SetSize(8, 16, 21)
    paths = []
    for node, name in ((line_node, "L.mrk.json"), (roi, "R.mrk.json")):
        storage = node.CreateDefaultStorageNode()
        scene.AddNode(storage)
        storage.SetFileName(str(tmp_path / name))
        assert storage.WriteData(node)
        paths.append(tmp_path / name)
    [drawn] = read_markers(paths[:1], TARGET).markers
    assert drawn.slice == 3
    assert np.allclose(drawn.points_xy, [(5, 10), (25, 14)], atol=1e-3)
    boxes = read_markers(paths[1:], TARGET).markers
    assert [m.slice for m in boxes] == [2, 3, 4, 5, 6]
    assert all(np.allclose(m.box, (20, 10, 30, 30), atol=1e-3) for m in boxes)


def test_csv_in_voxels_and_in_mm_agree(tmp_path):
    voxels = save(tmp_path / "v.csv", "label,slice,x0,y0,x1,y1\n1,3,5,10,25,14\n2,4,1,2,3,4\n")
    ends = ",".join(str(v) for v in (*mm(3, 10, 5), *mm(3, 14, 25)))
    ends2 = ",".join(str(v) for v in (*mm(4, 2, 1), *mm(4, 4, 3)))
    world = save(tmp_path / "w.csv", f"label,x0_mm,y0_mm,z0_mm,x1_mm,y1_mm,z1_mm\n1,{ends}\n2,{ends2}\n")
    first, second = read_markers([voxels], TARGET).markers, read_markers([world], TARGET).markers
    assert [(m.label, m.slice) for m in first] == [(m.label, m.slice) for m in second] == [(1, 3), (2, 4)]
    assert all(np.allclose(a.box, b.box, atol=1e-4) for a, b in zip(first, second, strict=True))


def test_json_in_voxels_and_in_mm_agree(tmp_path):
    rows = [
        {"label": 2, "slice": 3, "points": [[5, 10], [25, 14], [16, 6]], "name": "node"},
        {"label": 2, "points_mm": [ras(5, 1, 2), ras(5, 3, 4)]},
    ]
    markers = read_markers([save(tmp_path / "m.json", {"coordinateSystem": "RAS", "markers": rows})], TARGET).markers
    assert [(m.label, m.slice, m.name) for m in markers] == [(2, 3, "node"), (2, 5, None)]
    assert markers[0].box == (5, 6, 25, 14)
    assert np.allclose(markers[1].box, (2, 1, 4, 3))


def test_label_volume_is_read_in_the_plane_asked_for(tmp_path):
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:6, 10, 7:20] = 4
    path = tmp_path / "m.nii.gz"
    write_mask(Mask(labels, GRID), path)
    assert [m.slice for m in read_markers([path], TARGET).markers] == [2, 3, 4, 5]
    coronal = read_markers([path], Target(GRID, axis=1)).markers
    assert [(m.label, m.slice, m.box) for m in coronal] == [(4, 10, (7, 2, 19, 5))]
    with pytest.raises(GeometryError, match="mm away"):
        read_markers([path], Target(Grid(GRID.shape, affine=GRID.affine + np.eye(4, k=3))))


def test_recist_of_an_npz(tmp_path):
    recist = np.zeros(GRID.shape, np.uint8)
    recist[4, 10, 5:30] = 1
    path = tmp_path / "case.npz"
    np.savez(path, imgs=np.zeros(GRID.shape, np.uint8), recist=recist)
    assert [(m.slice, m.box) for m in read_markers([path], TARGET).markers] == [(4, (5, 10, 29, 10))]
    np.savez(path, imgs=np.zeros(GRID.shape, np.uint8), recist=recist[1:])
    with pytest.raises(InputFileError, match="recist"):
        read_markers([path], TARGET)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "label and slice, x0"),
        ("a.csv", "label,slice,x0,y0,x1,y1\n", "no marker"),
        ("a.csv", "label,slice,x0,y0,x1,y1\n1,2,3,4,5,oops\n", "line 2"),
        ("a.json", "{nope", "not JSON"),
        ("a.json", "{}", "no list of markers"),
        ("a.json", '{"markers": [{"label": 1, "points": [[1, 2]]}]}', "marker 1"),
        ("a.json", '{"coordinateSystem": "XYZ", "markers": [{"points_mm": []}]}', "LPS or RAS"),
        ("a.mrk.json", '{"markups": [{"type": "Angle"}]}', "no line and no ROI"),
        ("a.mrk.json", '{"markups": [{"type": "Line"}]}', "no markups file"),
        ("a.mrk.json", '{"markups": [{"type": "Line", "coordinateUnits": "cm"}]}', "positions in mm"),
        ("a.npz", "text", "holds text"),
        ("a.csv", "label,slice,x0,y0,x1,y1\n1,2,3,3,9,9,9\n", "more cells than columns"),
        ("a.csv", "label,slice,x0,y0,x1,y1\n1,2,3,3,9,\0\n", "line 2"),
        ("a.csv", "label,slice,x0,y0,x1,y1\n1,2,1e308,3,9,9\n", "more than 1000000"),
        ("a.csv", "label,slice,x0,y0,x1,y1\n1,1e999,1,3,9,9\n", "line 2"),
        ("a.json", '{"markers": [{"slice": Infinity, "points": [[3, 3], [9, 9]]}]}', "marker 1: OverflowError"),
        (
            "a.json",
            '{"markers": [{"slice": 1, "points": [[1' + "0" * 400 + ", 3], [9, 9]]}]}",
            "marker 1: OverflowError",
        ),
        ("a.json", '{"markers": [{"slice": 1' + "0" * 5000 + ', "points": [[3, 3], [9, 9]]}]}', "not JSON"),
        ("a.json", '{"markers": [{"slice": 1, "points": [[NaN, 3], [9, 9]]}]}', "finite"),
        ("a.json", '{"markers": [{"slice": 1, "label": 1e9, "points": [[3, 3], [9, 9]]}]}', "labels up to 65535"),
        ("a.json", "[" * 100000, "nested too deeply"),
        (
            "a.mrk.json",
            '{"markups": [{"type": "ROI", "center": [0, 0, 0], "size": [9, 9, 1e15]}]}',
            "far from any scanner",
        ),
        ("a.mrk.json", '{"markups": [{"type": "ROI", "center": [0, 0, 0], "size": [9, 9]}]}', "no markups file"),
        ("a.mrk.json", '{"markups": [{"type": "ROI", "center": [0, 0, 1e999], "size": [9, 9, 9]}]}', "far from any"),
    ],
)
def test_files_that_hold_no_markers_are_refused_in_words(tmp_path, name, content, message):
    with pytest.raises((InputFileError, PromptError), match=message):
        read_markers([save(tmp_path / name, content)], TARGET)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputFileError, match="does not exist"):
        read_markers([tmp_path / "none.csv"], TARGET)


@pytest.fixture
def series(tmp_path):
    """Eight CT slices of GRID, one file each."""
    folder = tmp_path / "ct"
    folder.mkdir()
    datasets = []
    for k in range(GRID.shape[0]):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = pydicom.Dataset()
        ds.file_meta = meta
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
        ds.Modality, ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = (
            "CT",
            "Test^Phantom",
            "T1",
            "",
            "",
        )
        ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", "", "", ""
        ds.SeriesNumber, ds.InstanceNumber = 1, k + 1
        ds.ImagePositionPatient = mm(k, 0, 0)
        ds.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        ds.PixelSpacing, ds.SliceThickness = [0.8, 0.8], 5
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 40, 50, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = np.full((40, 50), k, np.int16).tobytes()
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
        datasets.append(ds)
    return folder, datasets


def report(path, datasets, lesions, *, in_space):
    """A TID 1500 report as other software writes it: long and short axis as numbers with their lines."""
    observer = hd.sr.ObserverContext(codes.DCM.Person, hd.sr.PersonObserverIdentifyingAttributes(name="Reader^One"))
    context = hd.sr.ObservationContext(observer_person_context=observer)
    groups = []
    for name, lines in lesions.items():
        measurements = []
        for concept, k, ends in lines:
            if in_space:
                points = np.array([mm(k, y, x) for x, y in ends])
                region = hd.sr.CoordinatesForMeasurement3D(hd.sr.GraphicTypeValues3D.POLYLINE, points, "1.2.3.5")
            else:
                source = hd.sr.SourceImageForMeasurement(datasets[k].SOPClassUID, datasets[k].SOPInstanceUID)
                points = np.array(ends, dtype=float) + 0.5  # SR counts from the corner of the first pixel
                region = hd.sr.CoordinatesForMeasurement(hd.sr.GraphicTypeValues.POLYLINE, points, source)
            length = float(np.linalg.norm(np.subtract(*ends)))
            measurements.append(
                hd.sr.Measurement(concept, length, codes.UCUM.Millimeter, referenced_coordinates=[region])
            )
        measurements = measurements or [hd.sr.Measurement(LONG, 12.0, codes.UCUM.Millimeter)]
        tracking = hd.sr.TrackingIdentifier(uid=generate_uid(), identifier=name)
        groups.append(hd.sr.MeasurementsAndQualitativeEvaluations(tracking, measurements=measurements))
    body = hd.sr.MeasurementReport(
        observation_context=context, procedure_reported=codes.LN.CTUnspecifiedBodyRegion, imaging_measurements=groups
    )
    cls = hd.sr.Comprehensive3DSR if in_space else hd.sr.ComprehensiveSR
    ds = cls(
        evidence=datasets,
        content=body,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Test",
    )
    ds.save_as(path)
    return path


LONG, SHORT = codes.SCT.LongAxis, codes.SCT.ShortAxis
LESIONS = {
    "lesion A": [(LONG, 2, [(5, 10), (25, 14)]), (SHORT, 2, [(16, 6), (13, 18)])],
    "lesion B": [(LONG, 6, [(30, 30), (40, 31)])],
}


@pytest.mark.parametrize("in_space", [True, False], ids=["SCOORD3D", "SCOORD"])
def test_structured_report_gives_one_object_per_tracking_identifier(tmp_path, series, in_space):
    folder, datasets = series
    image = read_image(folder)
    path = report(tmp_path / "sr.dcm", datasets, LESIONS, in_space=in_space)
    markers = read_markers([path], Target(image.grid, 0, folder)).markers
    # The reader sorts slices along the normal, here by falling z: compare in the patient, not by index.
    first, last = (int(image.grid.to_index(np.array([mm(k, 0, 0)]))[0, 0].round()) for k in (2, 6))
    assert [(m.label, m.slice, m.name) for m in markers] == [(1, first, "lesion A")] * 2 + [(2, last, "lesion B")]
    assert np.allclose(markers[0].box, (5, 10, 25, 14), atol=1e-3)
    assert np.allclose(markers[1].box, (13, 6, 16, 18), atol=1e-3)


def test_pixel_positions_without_their_series_are_refused(tmp_path, series):
    folder, datasets = series
    path = report(tmp_path / "sr.dcm", datasets, LESIONS, in_space=False)
    with pytest.raises(PromptError, match="pixels of DICOM images"):
        read_markers([path], Target(GRID, 0, None))
    (folder / "2.dcm").unlink()
    with pytest.raises(PromptError, match="not in the scan"):
        read_markers([path], Target(GRID, 0, folder))
    empty = report(tmp_path / "none.dcm", datasets, {"typed in": []}, in_space=True)
    with pytest.raises(InputFileError, match="no line"):
        read_markers([empty], Target(GRID, 0, folder))


def test_a_large_roi_costs_no_more_slices_than_the_scan_has(tmp_path):
    roi = {"type": "ROI", "coordinateSystem": "LPS", "center": mm(4, 20, 25), "size": [8.0, 8.0, 1e6]}
    markers = read_markers([save(tmp_path / "R.mrk.json", {"markups": [roi]})], TARGET).markers
    assert [m.slice for m in markers] == list(
        range(-1, 9)
    )  # the first and the last lie outside, which is refused later


def test_lines_of_one_lesion_are_one_object_on_request_and_a_guess_is_told(tmp_path):
    near, far = line(mm(1, 4, 5), mm(1, 9, 8)), line(mm(6, 30, 35), mm(6, 38, 41))
    path = save(tmp_path / "L.mrk.json", {"markups": [near, far]})
    guessed = read_markers([path], TARGET)
    assert [(m.label, m.slice) for m in guessed.markers] == [(1, 1), (2, 6)]
    assert guessed.notice is not None
    assert "2 lines without a label were taken for 2 objects" in guessed.notice
    assert "--one-object" in guessed.notice
    one = read_markers([path], TARGET, objects="one")
    assert [(m.label, m.slice) for m in one.markers] == [(1, 1), (1, 6)]
    assert one.notice is None
    table = save(tmp_path / "L.csv", "label,slice,x0,y0,x1,y1\n1,1,5,4,8,9\n1,6,35,30,41,38\n")
    same = read_markers([table], TARGET)
    assert same.notice is None
    assert [(m.label, m.slice) for m in same.markers] == [(1, 1), (1, 6)]
    assert np.allclose([m.box for m in same.markers], [m.box for m in one.markers], atol=1e-4)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_changes_nothing(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes("label,slice,x0,y0,x1,y1\n3,2,3,3,9,9\n".encode(encoding))
    assert [(m.label, m.slice) for m in read_markers([tmp_path / "a.csv"], TARGET).markers] == [(3, 2)]
