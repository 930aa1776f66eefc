"""STL: closed surfaces that give the same voxels back, and meshes of others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medsam import read_mask, write_mask
from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.imaging.image import Grid, Mask
from medsam.io.outlines import stl


def oblique(rng: np.random.Generator) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.3, 5, 3)
    affine[:3, 3] = rng.uniform(-500, 500, 3)
    return affine


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.tuples(*[st.integers(1, 7)] * 3), st.floats(0.05, 0.95))
def test_any_oblique_mask_comes_back(tmp_path, seed, shape, density):
    rng = np.random.default_rng(seed)
    labels = rng.choice([1, 2, 32767], shape) * (rng.random(shape) < density)
    labels.flat[0] = 1
    grid = Grid(shape, affine=oblique(rng))
    write_mask(Mask(labels, grid), tmp_path / "m.stl")
    assert np.array_equal(read_mask(tmp_path / "m.stl", reference=grid).labels, labels)


def test_the_surface_has_the_size_of_the_object_in_lps_mm(tmp_path):
    labels = np.zeros((9, 9, 9), dtype=int)
    labels[2:7, 2:7, 2:7] = 1
    affine = np.diag([2.0, 1.0, 0.5, 1.0])[[2, 1, 0, 3]]  # z y x in columns, x y z in rows
    affine[:3, 3] = (10, 20, 30)
    write_mask(Mask(labels, Grid(labels.shape, affine=affine)), tmp_path / "m.stl")
    triangles, ids = stl._read(tmp_path / "m.stl")
    corners = triangles.reshape(-1, 3)
    assert corners.min(axis=0).tolist() == [10 + 1.5 * 0.5, 20 + 1.5, 30 + 1.5 * 2]
    assert corners.max(axis=0).tolist() == [10 + 6.5 * 0.5, 20 + 6.5, 30 + 6.5 * 2]
    assert stl._volume(triangles) == pytest.approx(125, rel=0.1)  # outward, edges cut by marching cubes
    assert set(ids) == {1}


def test_one_file_per_label_on_request(tmp_path):
    labels = np.zeros((3, 3, 6), dtype=int)
    labels[1, 1, 1], labels[1, 1, 4] = 3, 5
    grid = Grid(labels.shape, (1, 1, 1))
    write_mask(Mask(labels, grid, {3: "left kidney/../x"}), tmp_path / "m.stl", format="stl:per-label")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m-3-left-kidney-x.stl", "m-5-Segment-5.stl"]
    back = read_mask(tmp_path / "m-3-left-kidney-x.stl", reference=grid)
    assert np.array_equal(back.labels, np.where(labels == 3, 3, 0))


def cube(low: float, high: float) -> np.ndarray:
    """Twelve large triangles, x y z."""
    faces = []
    for axis in range(3):
        for side in (low, high):
            a, b = [i for i in range(3) if i != axis]
            quad = np.full((4, 3), side)
            quad[:, a], quad[:, b] = (low, high, high, low), (low, low, high, high)
            faces += [quad[[0, 1, 2]], quad[[0, 2, 3]]]
    return np.array(faces)


def test_text_stl_of_another_program_fills_the_voxels_inside(tmp_path):
    lines = ["solid cube"]
    for triangle in cube(0.6, 3.4):
        lines += [
            "facet normal 0 0 0",
            "outer loop",
            *("vertex {:g} {:g} {:g}".format(*p) for p in triangle),
            "endloop",
            "endfacet",
        ]
    (tmp_path / "m.stl").write_text("\n".join([*lines, "endsolid"]))
    affine = np.eye(4)[[2, 1, 0, 3]]
    mask = read_mask(tmp_path / "m.stl", reference=Grid((5, 5, 5), affine=affine))
    expected = np.zeros((5, 5, 5), dtype=int)
    expected[1:4, 1:4, 1:4] = 1
    assert np.array_equal(mask.labels, expected)


def test_a_surface_with_a_hole_is_refused(tmp_path):
    labels = np.zeros((5, 5, 5), dtype=int)
    labels[1:4, 1:4, 1:4] = 1
    grid = Grid(labels.shape, (1, 1, 1))
    write_mask(Mask(labels, grid), tmp_path / "m.stl")
    data = bytearray((tmp_path / "m.stl").read_bytes())
    keep = int.from_bytes(data[80:84], "little") * 2 // 3
    data[80:84] = keep.to_bytes(4, "little")
    (tmp_path / "m.stl").write_bytes(bytes(data[: 84 + 50 * keep]))
    with pytest.raises(InputFileError, match="closed"):
        read_mask(tmp_path / "m.stl", reference=grid)


def test_bad_files_and_masks_are_refused_in_words(tmp_path):
    grid = Grid((2, 2, 2), (1, 1, 1))
    path = tmp_path / "m.stl"
    with pytest.raises(OutputError, match="0 labels"):
        write_mask(Mask(np.zeros((2, 2, 2), dtype=int), grid), path)
    with pytest.raises(OutputError, match="32767"):
        write_mask(Mask(np.full((2, 2, 2), 40_000), grid), path)
    with pytest.raises(OutputError, match="per-label"):
        write_mask(Mask(np.ones((2, 2, 2), dtype=int), grid), path, format="stl:x")
    write_mask(Mask(np.ones((2, 2, 2), dtype=int), grid), path)
    with pytest.raises(GeometryError, match=r"pass reference= \(--reference\)"):
        read_mask(path)
    with pytest.raises(GeometryError, match="spans voxels"):
        read_mask(path, reference=Grid((2, 2, 1), (1, 1, 1)))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputFileError, match="truncated"):
        read_mask(path, reference=grid)
    path.write_bytes(b"solid nothing\nendsolid\n" * 10)
    with pytest.raises(InputFileError, match="no triangles"):
        read_mask(path, reference=grid)


def test_corners_beyond_all_measure_and_endless_layers_are_refused_in_words(tmp_path):
    grid = Grid((600, 600, 2), (1, 1, 1))
    facets = np.zeros(400, dtype=stl.FACET)
    facets["corners"] = [(0, 0, 0), (1, 599, 0), (0, 599, 599)]
    header = b"x" * 80 + np.uint32(len(facets)).tobytes()
    (tmp_path / "m.stl").write_bytes(header + facets.tobytes())
    with pytest.raises(InputFileError, match="layers"):
        read_mask(tmp_path / "m.stl", reference=grid)
    facets["corners"][3, 1, 2] = 1e38
    (tmp_path / "m.stl").write_bytes(header + facets.tobytes())
    with pytest.raises(GeometryError, match="spans voxels"):
        read_mask(tmp_path / "m.stl", reference=grid)
