"""Between our .seg.nrrd and 3D Slicer's own libraries (slicer-core): the same voxels, names, colours and place, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from medsam import read_mask, write_mask
from medsam.errors import InputFileError
from medsam.imaging.image import Grid, Mask
from medsam.io.volumes.nrrd_segments import read_segments

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed; make integration installs it")
pytestmark = pytest.mark.integration
TO_LPS = np.diag([-1.0, -1.0, 1.0])


def oblique() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] * [3, 0.7, 0.5]
    affine[:3, 3] = (10, -20, 30)
    return affine


def drawn() -> Mask:
    labels = np.zeros((6, 7, 8), dtype=int)
    labels[1:3, 2:4, 3:6] = 1
    labels[4, 5, 6] = 5
    labels[2, 6, 7] = 300
    grid = Grid(labels.shape, affine=oblique())
    return Mask(
        labels, grid, {1: "Tumor", 5: "Läsion", 300: "third"}, {1: (255, 0, 0), 5: (0, 128, 64), 300: (1, 2, 3)}
    )


@pytest.fixture
def scene() -> Iterator[object]:
    made = slicer.vtkMRMLScene()
    yield made
    made.Clear()


def loaded(scene, path: Path):
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return node, storage


def voxels(segment) -> np.ndarray:
    """(N, 3) LPS mm of a segment's voxels, from Slicer's own labelmap and matrix."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    labelmap = segment.GetRepresentation("Binary labelmap")
    i0, i1, j0, j1, k0, k1 = labelmap.GetExtent()
    values = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
    kji = np.argwhere(values == segment.GetLabelValue()) + np.array([k0, j0, i0])
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    affine = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    return (kji[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]) @ TO_LPS


def by_place(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.round(3).T)]


def test_slicer_reads_our_segments_at_their_place(tmp_path, scene):
    mask = drawn()
    write_mask(mask, tmp_path / "m.seg.nrrd")
    node, _ = loaded(scene, tmp_path / "m.seg.nrrd")
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    for label in mask.ids:
        segment = segmentation.GetSegment(f"Segment_{label}")
        assert segment.GetName() == mask.names[label]
        assert tuple(round(c * 255) for c in segment.GetColor()) == mask.colors[label]
        here, there = voxels(segment), mask.grid.to_world(np.argwhere(mask.labels == label))
        assert np.abs(by_place(here) - by_place(there)).max() < 1e-3


def test_slicer_knows_the_coded_meaning(tmp_path, scene):
    import vtk

    write_mask(drawn(), tmp_path / "m.seg.nrrd")
    node, _ = loaded(scene, tmp_path / "m.seg.nrrd")
    entry = vtk.reference("")
    node.GetSegmentation().GetSegment("Segment_1").GetTag("TerminologyEntry", entry)
    assert "SCT^108369006^Neoplasm" in str(entry)


def test_we_read_what_slicer_saved(tmp_path, scene):
    mask = drawn()
    write_mask(mask, tmp_path / "ours.seg.nrrd")
    node, storage = loaded(scene, tmp_path / "ours.seg.nrrd")
    storage.SetFileName(str(tmp_path / "theirs.seg.nrrd"))
    assert storage.WriteData(node) == 1
    back = read_mask(tmp_path / "theirs.seg.nrrd", reference=mask.grid)  # Slicer crops to what is drawn
    assert np.array_equal(back.labels, mask.labels)
    assert dict(back.names) == dict(mask.names)
    assert dict(back.colors) == dict(mask.colors)


def test_segments_that_slicer_lets_overlap_come_in_layers(tmp_path, scene):
    mask = drawn()
    write_mask(mask, tmp_path / "ours.seg.nrrd")
    node, storage = loaded(scene, tmp_path / "ours.seg.nrrd")
    labelmap = slicer.vtkOrientedImageData()
    labelmap.DeepCopy(node.GetSegmentation().GetSegment("Segment_1").GetRepresentation("Binary labelmap"))
    twin = slicer.vtkSegment()
    twin.AddRepresentation("Binary labelmap", labelmap)
    twin.SetName("twin")
    node.GetSegmentation().AddSegment(twin, "Segment_twin")
    storage.SetFileName(str(tmp_path / "theirs.seg.nrrd"))
    assert storage.WriteData(node) == 1
    with pytest.raises(InputFileError, match="overlap in 12 voxels"):
        read_mask(tmp_path / "theirs.seg.nrrd")
    only = read_segments(tmp_path / "theirs.seg.nrrd", mask.grid, only=["twin"])
    assert np.array_equal(only.labels > 0, mask.labels == 1)
