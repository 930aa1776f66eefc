"""Pictures: what comes in is what a person sees, what goes out reads back equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from small_pictures import COLOR, GREY, saved

import medsam
from medsam.errors import GeometryError, InputFileError, OutputError


def square(label: int = 1, size: int = 8) -> medsam.Mask:
    labels = np.zeros((1, size, size), dtype=np.int64)
    labels[0, 2:5, 3:6] = label
    return medsam.Mask(labels, medsam.Grid(labels.shape))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("pixels", [GREY, COLOR], ids=["grey", "rgb"])
def test_pixels_come_as_stored_with_unknown_spacing(tmp_path: Path, suffix: str, pixels: np.ndarray) -> None:
    image = medsam.read_image(saved(tmp_path / f"a{suffix}", pixels))
    assert image.values.dtype == np.uint8
    assert np.array_equal(image.values[0], pixels)
    assert image.grid.shape == (1, 3, 4)
    assert image.grid.spacing_mm is None


def test_jpeg_is_close_to_what_was_saved(tmp_path: Path) -> None:
    image = medsam.read_image(saved(tmp_path / "a.jpg", np.full((16, 16, 3), 90, np.uint8), quality=95))
    assert image.values.shape == (1, 16, 16, 3)
    assert np.abs(image.values.astype(int) - 90).max() <= 2


def test_16_bit_grey_keeps_its_depth(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 256 + 7
    for suffix in (".png", ".tif"):
        image = medsam.read_image(saved(tmp_path / f"a{suffix}", deep))
        assert image.values.dtype == np.uint16
        assert np.array_equal(image.values[0], deep)


def test_16_bit_colour_png_keeps_its_depth(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    deep = COLOR.astype(np.uint16) * 200 + 3
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), deep[..., ::-1])
    image = medsam.read_image(path)
    assert image.values.dtype == np.uint16
    assert np.array_equal(image.values[0], deep)


def test_alpha_is_laid_on_black(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[..., 3] = [[255, 0], [128, 255]]
    for suffix in (".png", ".tif"):
        image = medsam.read_image(saved(tmp_path / f"a{suffix}", rgba))
        assert image.values.shape == (1, 2, 2, 3)
        assert image.values[0, ..., 0].tolist() == [[200, 0], [100, 200]]
    grey_alpha = medsam.read_image(saved(tmp_path / "la.png", Picture.fromarray(rgba[..., [0, 3]], mode="LA")))
    assert grey_alpha.values[0].tolist() == [[200, 0], [100, 200]]


def test_palette_becomes_colours_and_a_grey_palette_grey(tmp_path: Path) -> None:
    picture = Picture.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 10, 20, 30])
    for suffix in (".png", ".tif", ".bmp"):
        image = medsam.read_image(saved(tmp_path / f"a{suffix}", picture))
        assert image.values[0].tolist() == [[[0, 0, 0], [255, 0, 0]], [[10, 20, 30], [255, 0, 0]]]
    picture.putpalette([0, 0, 0, 90, 90, 90, 200, 200, 200])
    assert medsam.read_image(saved(tmp_path / "g.png", picture)).values[0].tolist() == [[0, 90], [200, 90]]


def test_one_bit_pictures_are_black_and_white(tmp_path: Path) -> None:
    bits = np.array([[True, False, True]])
    for suffix in (".png", ".tif", ".bmp"):
        path = saved(tmp_path / f"a{suffix}", bits)
        assert medsam.read_image(path).values[0].tolist() == [[255, 0, 255]]
        assert medsam.read_mask(path).labels[0].tolist() == [[1, 0, 1]]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Picture.Exif()
    exif[0x0112] = 6  # the camera was held with its right side down: turn 90 degrees clockwise
    picture = np.zeros((16, 32), np.uint8)
    picture[:8] = 240
    turned = medsam.read_image(saved(tmp_path / "a.jpg", picture, exif=exif, quality=95))
    assert turned.values.shape == (1, 32, 16)
    assert turned.values[0, :, 12:].min() > 200
    assert turned.values[0, :, :4].max() < 60


def test_cmyk_is_refused(tmp_path: Path) -> None:
    for suffix in (".jpg", ".tif"):
        path = saved(tmp_path / f"a{suffix}", Picture.fromarray(COLOR).convert("CMYK"))
        with pytest.raises(InputFileError, match=r"CMYK|SEPARATED"):
            medsam.read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    whole = saved(tmp_path / f"whole{suffix}", noise).read_bytes()
    for share in (0.05, 0.4, 0.9):
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputFileError):
            medsam.read_image(cut)
        with pytest.raises(InputFileError):
            medsam.read_mask(cut)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_another_content_than_the_suffix_is_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"GIF89a....")
    with pytest.raises(InputFileError, match="a GIF picture"):
        medsam.read_image(tmp_path / f"a{suffix}")
    (tmp_path / f"b{suffix}").write_text("not a picture at all")
    with pytest.raises(InputFileError, match="holds text"):
        medsam.read_image(tmp_path / f"b{suffix}")


def test_a_decompression_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    data = bytearray(path.read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(InputFileError):
        medsam.read_image(path)


def test_one_label_is_written_visible_and_reads_back(tmp_path: Path) -> None:
    medsam.write_mask(square(), tmp_path / "m.png")
    with Picture.open(tmp_path / "m.png") as picture:
        assert picture.mode == "L"
        assert set(np.unique(np.asarray(picture)).tolist()) == {0, 255}
    assert np.array_equal(medsam.read_mask(tmp_path / "m.png").labels, square().labels)


def test_several_labels_are_written_as_a_palette_and_read_back(tmp_path: Path) -> None:
    mask = square(3)
    labels = mask.labels.copy()
    labels[0, 6:, :] = 255
    mask = medsam.Mask(labels, mask.grid, colors={3: (1, 2, 3)})
    medsam.write_mask(mask, tmp_path / "m.png")
    with Picture.open(tmp_path / "m.png") as picture:
        assert picture.mode == "P"
        shown = np.asarray(picture.convert("RGB"))
    assert shown[3, 4].tolist() == [1, 2, 3]
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert shown[7, 0].max() > 0
    assert np.array_equal(medsam.read_mask(tmp_path / "m.png").labels, labels)


@pytest.mark.parametrize("label", [1, 2, 255, 256, 65534])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_label_reads_back_as_itself(tmp_path: Path, label: int, suffix: str) -> None:
    medsam.write_mask(square(label), tmp_path / f"m{suffix}")
    assert medsam.read_mask(tmp_path / f"m{suffix}").ids == (label,)


def test_an_empty_mask_reads_back_empty(tmp_path: Path) -> None:
    empty = medsam.Mask(np.zeros((1, 1, 1), np.uint8), medsam.Grid((1, 1, 1)))
    medsam.write_mask(empty, tmp_path / "m.png")
    assert medsam.read_mask(tmp_path / "m.png").ids == ()


def test_labels_beyond_16_bit_are_refused(tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        with pytest.raises(OutputError, match="65536"):
            medsam.write_mask(square(65536), tmp_path / f"m{suffix}")
        assert not list(tmp_path.iterdir())


def test_several_slices_need_another_format_than_png(tmp_path: Path) -> None:
    stack = medsam.Mask(np.ones((2, 3, 4), np.uint8), medsam.Grid((2, 3, 4)))
    with pytest.raises(OutputError, match=r"\.nii\.gz"):
        medsam.write_mask(stack, tmp_path / "m.png")
    medsam.write_mask(stack, tmp_path / "m.tif")
    assert np.array_equal(medsam.read_mask(tmp_path / "m.tif").labels, stack.labels)


def test_a_mask_takes_the_grid_of_its_image(tmp_path: Path) -> None:
    medsam.write_mask(square(), tmp_path / "m.png")
    grid = medsam.Grid((1, 8, 8), spacing_mm=(2.0, 0.5, 0.5))
    assert medsam.read_mask(tmp_path / "m.png", reference=grid).grid is grid
    with pytest.raises(GeometryError, match="shape"):
        medsam.read_mask(tmp_path / "m.png", reference=medsam.Grid((1, 9, 8)))


def test_colours_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="colours"):
        medsam.read_mask(saved(tmp_path / "a.png", COLOR))
    grey_as_rgb = np.repeat(GREY[..., None], 3, axis=2)
    assert np.array_equal(medsam.read_mask(saved(tmp_path / "b.png", grey_as_rgb)).labels[0], GREY)


def test_real_slices_read_as_pillow_reads_them(shared_data: Path) -> None:
    for folder in sorted((shared_data / "slices").iterdir()):
        path = sorted((folder / "images").iterdir())[0]
        mask = sorted((folder / "masks").iterdir())[0]
        with Picture.open(path) as picture, Picture.open(mask) as drawn:
            assert np.array_equal(medsam.read_image(path).values[0], np.asarray(picture))
            stored = np.asarray(drawn)
        values = set(np.unique(stored).tolist())
        expected = stored > 0 if values <= {0, 255} else stored
        assert np.array_equal(medsam.read_mask(mask).labels[0], expected)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_alpha_and_bands_of_rows_are_exact_on_a_large_picture(tmp_path: Path, suffix: str) -> None:
    if suffix == ".bmp":
        pytest.skip("Pillow writes no alpha to BMP")
    rng = np.random.default_rng(3)
    rgba = rng.integers(0, 256, (1100, 5000, 4), dtype=np.uint8)  # more than one band
    values = medsam.read_image(saved(tmp_path / f"a{suffix}", rgba)).values[0]
    assert np.array_equal(values, np.rint(rgba[..., :3] * (rgba[..., 3:] / 255)).astype(np.uint8))


def test_a_bmp_that_ends_before_its_pixels_is_refused_before_they_are_allocated(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.bmp", COLOR)
    data = bytearray(path.read_bytes())
    data[18:26] = (20_000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(InputFileError, match="all the pixels that the header declares"):
        medsam.read_image(path)


@pytest.mark.parametrize("white", [255, 65535])
def test_a_16_bit_png_of_black_and_white_is_label_1(tmp_path: Path, white: int) -> None:
    pixels = square().labels[0].astype(np.uint16) * white
    Picture.fromarray(pixels).save(tmp_path / "u16.png")
    assert np.array_equal(medsam.read_mask(tmp_path / "u16.png").labels[0], pixels > 0)
    assert medsam.read_image(tmp_path / "u16.png").values.max() == white
    pixels[0, 0] = 7
    Picture.fromarray(pixels).save(tmp_path / "u16.png")
    assert medsam.read_mask(tmp_path / "u16.png").ids == (7, white)


def test_the_one_label_that_would_read_back_as_1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="label 65535 alone"):
        medsam.write_mask(square(65535), tmp_path / "m.png")
    medsam.write_mask(square(65535), tmp_path / "m.tif")
    assert medsam.read_mask(tmp_path / "m.tif").ids == (65535,)
