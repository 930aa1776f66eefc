"""The npz files of MedSAM and its challenges: shapes, geometry x y z, prompts, and never a pickle."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import medsam
from medsam.errors import GeometryError, InputFileError
from medsam.io.volumes.npz import read_prompts

VOLUME = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
COLOUR = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("bomb-went-off").touch, ())


def saved(path: Path, **arrays: object) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_a_volume_has_spacing_in_x_y_z_order(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", imgs=VOLUME, gts=VOLUME % 2, spacing=np.array([0.5, 0.75, 5.0]))
    image = medsam.read_image(path)
    assert np.array_equal(image.values, VOLUME)
    assert image.normalized
    assert image.grid.spacing_mm == (5.0, 0.75, 0.5)
    assert np.array_equal(medsam.read_mask(path).labels, VOLUME % 2)


def test_direction_and_origin_are_simpleitks(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    direction = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
    oracle = sitk.GetImageFromArray(VOLUME)
    oracle.SetDirection(direction)
    oracle.SetSpacing((0.5, 0.75, 5.0))
    oracle.SetOrigin((1.0, 2.0, 3.0))
    path = saved(tmp_path / "a.npz", imgs=VOLUME, spacing=[0.5, 0.75, 5.0], direction=direction, origin=[1.0, 2.0, 3.0])
    assert medsam.read_image(path).grid.to_world([[1, 2, 3]])[0] == pytest.approx(
        oracle.TransformIndexToPhysicalPoint((3, 2, 1))
    )


def test_a_picture_and_a_narrow_volume_are_told_apart_by_what_lies_beside(tmp_path: Path) -> None:
    boxes = np.array([[0, 0, 2, 2]])
    picture = saved(tmp_path / "2d.npz", imgs=COLOUR, gts=COLOUR[..., 0], boxes=boxes)
    assert medsam.read_image(picture).values.shape == (1, 3, 4, 3)
    assert medsam.read_mask(picture).labels.shape == (1, 3, 4)
    assert medsam.read_image(saved(tmp_path / "bare.npz", imgs=COLOUR, boxes=boxes)).is_rgb
    assert not medsam.read_image(saved(tmp_path / "3d.npz", imgs=COLOUR, gts=COLOUR)).is_rgb
    assert not medsam.read_image(saved(tmp_path / "b6.npz", imgs=COLOUR, boxes=np.zeros((1, 6)))).is_rgb
    assert medsam.read_image(saved(tmp_path / "grey.npz", imgs=COLOUR[..., 0])).values.shape == (1, 3, 4)


def test_raw_values_are_not_taken_as_normalized(tmp_path: Path) -> None:
    image = medsam.read_image(saved(tmp_path / "a.npz", imgs=VOLUME.astype(np.int16) - 1000))
    assert not image.normalized
    assert image.values.min() == -1000


def test_boxes_and_recist_are_prompts(tmp_path: Path) -> None:
    flat = read_prompts(saved(tmp_path / "a.npz", imgs=COLOUR, boxes=np.array([[0, 1, 2, 3]])))
    assert flat.boxes_N4 is not None
    assert flat.boxes_N4.tolist() == [[0, 1, 2, 3]]
    deep = read_prompts(saved(tmp_path / "b.npz", imgs=VOLUME, boxes=np.arange(6), recist=VOLUME > 20))
    assert deep.boxes_N4 is None
    assert deep.boxes_N6 is not None
    assert deep.boxes_N6.shape == (1, 6)
    assert deep.recist is not None
    assert deep.recist.labels.sum() == 3
    with pytest.raises(InputFileError, match=r"\(2, 5\)"):
        read_prompts(saved(tmp_path / "c.npz", boxes=np.zeros((2, 5))))


def test_pickled_objects_are_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "a.npz", imgs=VOLUME, boxes=np.array([{"z": 1}, Bomb()], dtype=object))
    assert np.array_equal(medsam.read_image(path).values, VOLUME)
    with pytest.raises(InputFileError, match="pickled"):
        read_prompts(path)
    with pytest.raises(InputFileError, match="pickled"):
        medsam.read_image(saved(tmp_path / "b.npz", imgs=np.array([Bomb()], dtype=object)))
    assert not Path("bomb-went-off").exists()


def test_segs_are_written_as_challenges_want_them(tmp_path: Path) -> None:
    grid = medsam.Grid((2, 3, 4), spacing_mm=(5.0, 0.75, 0.5))
    medsam.write_mask(medsam.Mask(VOLUME.astype(np.int64) % 3, grid), tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert file["segs"].dtype == np.uint8
        assert np.array_equal(file["segs"], VOLUME % 3)
        assert file["spacing"].tolist() == [0.5, 0.75, 5.0]
    again = medsam.read_mask(tmp_path / "m.npz")
    assert again.grid.same_as(grid)
    flat = medsam.Mask(VOLUME[:1] % 2, medsam.Grid((1, 3, 4)))
    medsam.write_mask(flat, tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert file["segs"].shape == (3, 4)
        assert file.files == ["segs"]


def test_a_mask_without_geometry_takes_the_reference_grid(tmp_path: Path) -> None:
    grid = medsam.Grid((2, 3, 4), spacing_mm=(5.0, 0.75, 0.5))
    assert medsam.read_mask(saved(tmp_path / "m.npz", segs=VOLUME % 2), reference=grid).grid is grid
    with pytest.raises(GeometryError):
        medsam.read_mask(tmp_path / "m.npz", reference=medsam.Grid((2, 3, 5)))


def test_arrays_that_declare_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = str({"descr": "<f8", "fortran_order": False, "shape": (2048, 1024, 1024)}).encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imgs.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(4096))
    with pytest.raises(InputFileError, match=r"16\.0 GiB"):
        medsam.read_image(path)
    with pytest.raises(InputFileError, match="declares"):
        medsam.read_image(path, max_bytes=1 << 40)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_archives_are_refused(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 32, 32)).astype(np.uint8)
    whole = saved(tmp_path / "a.npz", imgs=noise).read_bytes()
    (tmp_path / "b.npz").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputFileError):
        medsam.read_image(tmp_path / "b.npz")
    spoiled = bytearray(whole)
    spoiled[len(whole) // 2] ^= 0xFF
    (tmp_path / "c.npz").write_bytes(spoiled)
    with pytest.raises(InputFileError, match="damaged"):
        medsam.read_image(tmp_path / "c.npz")


def test_a_file_without_an_image_lists_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="holds other, things"):
        medsam.read_image(saved(tmp_path / "a.npz", other=VOLUME, things=VOLUME))
    (tmp_path / "t.npz").write_text("not an archive")
    with pytest.raises(InputFileError, match="holds text"):
        medsam.read_image(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("key", "value"),
    [("spacing", [0.0, 1.0, 1.0]), ("spacing", [1.0]), ("direction", [0.0] * 9), ("origin", [np.nan] * 3)],
)
def test_geometry_that_is_none_is_refused(tmp_path: Path, key: str, value: list[float]) -> None:
    with pytest.raises(GeometryError):
        medsam.read_image(saved(tmp_path / "a.npz", imgs=VOLUME, **({"spacing": [1.0, 1.0, 1.0]} | {key: value})))


def test_real_cases_read_with_their_geometry(shared_data: Path) -> None:
    paths = sorted((shared_data / "volumes" / "ct_lesion_recist").glob("*.npz"))
    assert len(paths) == 6
    for path in paths:
        image, mask = medsam.read_image(path), medsam.read_mask(path, reference=path)
        assert image.normalized
        assert image.grid.spacing_mm is not None
        assert image.grid.spacing_mm[0] == 5.0
        assert mask.ids == (1,)
        assert mask.grid.same_as(image.grid)
