""".seg.nrrd: the same voxels, names and colours back, from our files and from 3D Slicer's kinds of file."""

from __future__ import annotations

import contextlib
import gzip

import nrrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medsam import read_mask, write_mask
from medsam.errors import GeometryError, InputFileError, MedsamError
from medsam.imaging.image import Grid, Mask


def oblique(rng: np.random.Generator) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.3, 5, 3)
    affine[:3, 3] = rng.uniform(-500, 500, 3)
    return affine


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from([2, 200, 70_000]))
def test_any_oblique_mask_comes_back(tmp_path, seed, shape, highest):
    rng = np.random.default_rng(seed)
    mask = Mask(rng.integers(0, highest, shape) * rng.integers(0, 2, shape), Grid(shape, affine=oblique(rng)))
    write_mask(mask, tmp_path / "m.seg.nrrd")
    back = read_mask(tmp_path / "m.seg.nrrd")
    assert np.array_equal(back.labels, mask.labels)
    assert back.grid.max_distance_mm(mask.grid) < 1e-6


def test_names_and_colours_come_back_in_any_script(tmp_path):
    labels = np.array([[[0, 1, 2], [300, 300, 0]]])
    mask = Mask(
        labels,
        Grid(labels.shape, (2, 1, 1)),
        {1: "Läsion", 300: "腫瘍", 9: "not drawn"},
        {1: (1, 2, 3), 300: (255, 0, 9)},
    )
    write_mask(mask, tmp_path / "m.seg.nrrd")
    back = read_mask(tmp_path / "m.seg.nrrd")
    assert (dict(back.names), dict(back.colors)) == (dict(mask.names), dict(mask.colors))


def test_stated_codes_come_back_and_slicer_reads_them(tmp_path):
    codes = {1: ("SCT", "10200004", "Liver"), 2: ("99LOCAL", "A1", "Part 8")}
    mask = Mask(np.array([[[0, 1, 2]]]), Grid((1, 1, 3), (2, 1, 1)), {1: "seen", 2: "two"}, codes=codes)
    write_mask(mask, tmp_path / "m.seg.nrrd")
    assert dict(read_mask(tmp_path / "m.seg.nrrd").codes) == codes
    assert (
        "SCT^91723000^Anatomical Structure~SCT^10200004^Liver~"
        in nrrd.read_header(str(tmp_path / "m.seg.nrrd"))["Segment0_Tags"]
    )


def test_a_name_cannot_write_header_fields_of_its_own(tmp_path):
    mask = Mask(np.ones((1, 2, 2), dtype=int), Grid((1, 2, 2), (1, 1, 1)), {1: "a\nSegment0_LabelValue:=9\n\nb"})
    write_mask(mask, tmp_path / "m.seg.nrrd")
    back = read_mask(tmp_path / "m.seg.nrrd")
    assert back.labels.tolist() == mask.labels.tolist()
    assert "\n" not in back.names[1]


def test_pynrrd_reads_the_fields_that_slicer_needs(tmp_path):
    labels = np.zeros((3, 4, 5), dtype=int)
    labels[1, 1:3, 2:4] = 6
    write_mask(Mask(labels, Grid(labels.shape, (3, 1, 2)), {6: "Tumor"}, {6: (255, 0, 0)}), tmp_path / "m.seg.nrrd")
    values, header = nrrd.read(str(tmp_path / "m.seg.nrrd"), index_order="C")
    assert np.array_equal(values, labels)
    assert header["space"] == "left-posterior-superior"
    assert header["Segment0_LabelValue"] == "6"
    assert header["Segment0_Layer"] == "0"
    assert header["Segment0_Extent"] == "2 3 1 2 1 1"
    assert header["Segment0_Color"] == "1 0 0"
    assert "SCT^108369006^Neoplasm" in header["Segment0_Tags"]


def test_a_mask_without_spacing_stays_without(tmp_path):
    write_mask(Mask(np.ones((1, 2, 3), dtype=int), Grid((1, 2, 3))), tmp_path / "m.seg.nrrd")
    assert read_mask(tmp_path / "m.seg.nrrd").grid.spacing_mm is None


def test_an_empty_mask_has_no_segments(tmp_path):
    write_mask(Mask(np.zeros((2, 2, 2), dtype=int), Grid((2, 2, 2), (1, 1, 1))), tmp_path / "m.seg.nrrd")
    back = read_mask(tmp_path / "m.seg.nrrd")
    assert back.ids == ()
    assert back.labels.shape == (2, 2, 2)


def slicer_file(layers_LDHW: np.ndarray, fields: dict[str, str], space: str = "left-posterior-superior") -> bytes:
    """A file as 3D Slicer lays it out when segments overlap: the layer is the fastest axis."""
    sizes = " ".join(str(n) for n in (len(layers_LDHW), *layers_LDHW.shape[:0:-1]))
    header = [
        "NRRD0004", "type: unsigned char", "dimension: 4", f"space: {space}", f"sizes: {sizes}",
        "space directions: none (0.5,0,0) (0,0.75,0) (0,0,3)", "kinds: list domain domain domain", "endian: little",
        "encoding: gzip", "space origin: (1,2,3)", *(f"{key}:={value}" for key, value in fields.items()), "", "",
    ]  # fmt: skip
    data = np.moveaxis(layers_LDHW, 0, -1).astype(np.uint8)
    return "\n".join(header).encode() + gzip.compress(np.ascontiguousarray(data).tobytes())


def two_layers(overlap: bool) -> bytes:
    layers = np.zeros((2, 2, 3, 4), dtype=int)
    layers[0, 0, 0, :2] = 1
    layers[0, 1] = 2
    layers[1, 0, 0, 1 if overlap else 2 :] = 1
    fields = {}
    for n, (layer, value, name) in enumerate([(0, 1, "A"), (0, 2, "B"), (1, 1, "C")]):
        fields |= {f"Segment{n}_LabelValue": str(value), f"Segment{n}_Layer": str(layer), f"Segment{n}_Name": name}
    return slicer_file(layers, fields)


def test_layers_that_do_not_overlap_become_one_label_map(tmp_path):
    path = tmp_path / "m.seg.nrrd"
    path.write_bytes(two_layers(overlap=False))
    mask = read_mask(path)
    assert mask.labels[0, 0].tolist() == [1, 1, 3, 3]
    assert dict(mask.names) == {1: "A", 2: "B", 3: "C"}
    assert mask.grid.spacing_mm == (3, 0.75, 0.5)
    assert mask.grid.to_world(np.zeros((1, 3)))[0].tolist() == [1, 2, 3]


def test_layers_that_overlap_are_refused_with_the_way_out(tmp_path):
    path = tmp_path / "m.seg.nrrd"
    path.write_bytes(two_layers(overlap=True))
    with pytest.raises(InputFileError, match=r"'A'.*'C'.*overlap in 1 voxels.*--only"):
        read_mask(path)
    from medsam.io.volumes.nrrd_segments import read_segments

    assert read_segments(path, None, only=["A", "B"]).labels[0, 0].tolist() == [1, 1, 0, 0]
    assert read_segments(path, None, overlap="last").labels[0, 0].tolist() == [1, 3, 3, 3]


def test_old_files_with_one_layer_per_segment_are_read(tmp_path):
    layers = np.zeros((2, 1, 2, 2), dtype=int)
    layers[0, 0, 0, 0] = layers[1, 0, 1, 1] = 1
    path = tmp_path / "m.seg.nrrd"
    path.write_bytes(slicer_file(layers, {"Segment0_Name": "A", "Segment1_Name": "B"}))
    mask = read_mask(path)
    assert mask.labels.tolist() == [[[1, 0], [0, 2]]]
    assert dict(mask.names) == {1: "A", 2: "B"}


def test_a_file_in_ras_is_turned_to_lps(tmp_path):
    path = tmp_path / "m.seg.nrrd"
    path.write_bytes(slicer_file(np.ones((1, 1, 2, 2)), {}, space="right-anterior-superior"))
    assert read_mask(path).grid.to_world(np.array([[0, 0, 1]]))[0].tolist() == [-1.5, -2, 3]


def test_a_cropped_file_is_laid_on_the_reference(tmp_path):
    path = tmp_path / "m.seg.nrrd"
    path.write_bytes(slicer_file(np.ones((1, 1, 2, 2)), {}))
    affine = np.array([[0, 0, 0.5, 0], [0, 0.75, 0, 0.5], [3, 0, 0, 0], [0, 0, 0, 1]])
    mask = read_mask(path, reference=Grid((3, 6, 6), affine=affine))
    assert np.argwhere(mask.labels).tolist() == [[1, 2, 2], [1, 2, 3], [1, 3, 2], [1, 3, 3]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b[:-12], "truncated|damaged"),
        (lambda b: b.replace(b"sizes: 2 4 3 2", b"sizes: 2 4 3 9"), "truncated|declares"),
        (lambda b: b.replace(b"sizes: 2 4 3 2", b"sizes: 2 4 90000 90000"), "declares"),
        (lambda b: b.replace(b"encoding: gzip", b"encoding: bzip2"), "bzip2"),
        (lambda b: b.replace(b"unsigned char", b"float").replace(b"gzip", b"text"), "declares 48 bytes"),
        (lambda b: b.replace(b"kinds: list", b"kinds: time"), "kinds"),
        (lambda b: b.replace(b"NRRD0004", b"GARBAGE!"), "an NRRD file"),
        (lambda b: b.replace(b"encoding: gzip", b"encoding: gzip\ndata file: /etc/passwd"), "beside the header"),
        (lambda b: b"", "empty"),
        (lambda b: b.replace(b"left-posterior-superior", b"left-right-superior"), "space"),
    ],
)
def test_damaged_files_are_refused_in_words(tmp_path, change, words):
    path = tmp_path / "m.seg.nrrd"
    path.write_bytes(change(two_layers(overlap=False)))
    with pytest.raises((InputFileError, GeometryError), match=words):
        read_mask(path)


def test_random_damage_never_escapes_as_another_error(tmp_path):
    rng = np.random.default_rng(3)
    whole = bytearray(two_layers(overlap=False))
    path = tmp_path / "m.seg.nrrd"
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(MedsamError):
            read_mask(path)
