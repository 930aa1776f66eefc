"""Stored DICOM pixels become the right values: rescale, signs, padding, inversion, colour, every compression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, compressed, dataset, enhanced, picture, set_pixels, write_series
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medsam import read_image
from medsam.errors import InputFileError, MissingDependencyError
from medsam.imaging.modality import Modality, Window
from medsam.io.dicom import pixels as dicom_pixels
from medsam.io.dicom.image import read_series

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
GREY = np.array([[0, 1, 2], [100, 1000, 4095]], dtype=np.uint16)


def one(stored: np.ndarray, photometric: str = "MONOCHROME2", **tags: object) -> pydicom.Dataset:
    ds = dataset(Phantom(), 0)
    set_pixels(ds, stored, photometric)
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def test_whole_slope_and_intercept_give_hounsfield_units_as_int16():
    values = read_series([one(GREY, RescaleSlope=2, RescaleIntercept=-1024)]).values
    assert values.dtype == np.int16
    assert values.tolist() == [[[-1024, -1022, -1020], [-824, 976, 7166]]]


def test_values_above_int16_give_int32():
    values = read_series([one(GREY * 16, RescaleSlope=1, RescaleIntercept=0)]).values
    assert values.dtype == np.int32
    assert values.max() == 65520


def test_eight_bits_stay_uint8():
    assert read_series([one(np.arange(6, dtype=np.uint8).reshape(2, 3))]).values.dtype == np.uint8


def test_fractional_slope_gives_float32():
    values = read_series([one(GREY, RescaleSlope="0.5", RescaleIntercept=1)]).values
    assert values.dtype == np.float32
    assert values[0, 0].tolist() == [1.0, 1.5, 2.0]


def test_each_slice_of_a_pet_keeps_its_own_slope(tmp_path):
    for k in range(3):
        ds = dataset(Phantom(), k, np.full((2, 2), 10, np.uint16))
        ds.Modality, ds.RescaleSlope = "PT", f"{k + 0.5}"
        ds.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    image = read_image(tmp_path)
    assert image.modality == Modality.PET
    assert image.values[:, 0, 0].tolist() == [5.0, 15.0, 25.0]


def test_frames_of_a_multi_frame_are_rescaled_and_windowed():
    image = read_series([enhanced(Phantom(slope=2, intercept=-10), [2, 0, 1])])
    assert image.values[:, 0, 0].tolist() == [-10, 116, 242]
    assert image.window == Window(350, 50)


def test_signed_pixels_and_bits_above_bits_stored():
    stored = np.array([[-1, 5], [0x7000 | 3, 0x0FFF]], dtype=np.int16)
    values = read_series([one(stored, BitsStored=12, HighBit=11)]).values
    assert values.tolist() == [[[-1, 5], [3, -1]]]  # only the 12 lower bits count, with their sign


def test_monochrome1_is_inverted_with_its_window():
    image = read_series([one(GREY, "MONOCHROME1", BitsStored=12, HighBit=11, WindowCenter=1000, WindowWidth=500)])
    assert image.values.tolist() == [[[4095, 4094, 4093], [3995, 3095, 0]]]
    assert image.window == Window(500, 3095)


def test_padding_is_not_above_the_lowest_value():
    image = read_series([one(GREY, "MONOCHROME1", BitsStored=12, HighBit=11, PixelPaddingValue=0)])
    assert image.values.tolist() == [[[0, 4094, 4093], [3995, 3095, 0]]]
    low = read_series([one(GREY, PixelPaddingValue=0, RescaleIntercept=-1000)])
    assert low.values[0, 0, 0] == -1000


def test_padding_range_runs_to_its_limit():
    image = read_series([one(GREY, PixelPaddingValue=4095, PixelPaddingRangeLimit=1000)])
    assert image.values.tolist() == [[[0, 1, 2], [100, 0, 0]]]


def test_window_is_the_middle_slices_first():
    slices = [dataset(Phantom(tags=(("WindowCenter", [40 + k, 7]), ("WindowWidth", [400, 8]))), k) for k in range(3)]
    assert read_series(slices).window == Window(400, 41)


def test_modality_lut_is_applied():
    lut = pydicom.Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType, lut.LUTData = [3, 0, 16], "US", [7, 9, 1000]
    ds = one(np.array([[0, 1], [2, 2]], np.uint16), ModalityLUTSequence=[lut])
    del ds.RescaleSlope, ds.RescaleIntercept
    ds["ModalityLUTSequence"][0]["LUTDescriptor"].VR = "US"
    ds["ModalityLUTSequence"][0]["LUTData"].VR = "US"
    assert read_series([ds]).values.tolist() == [[[7, 9], [1000, 1000]]]


def test_colour_cine_has_frames_as_slices_and_no_spacing():
    frames = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    image = read_series([picture(frames, "RGB")])
    assert (image.values == frames).all()
    assert image.modality == Modality.ULTRASOUND
    assert image.grid.spacing_mm is None


def test_luminance_and_colour_difference_become_rgb():
    grey_and_red = np.array([[[128, 128, 128], [76, 85, 255]]], dtype=np.uint8)  # YBR_FULL
    values = read_series([picture(grey_and_red, "YBR_FULL")]).values
    np.testing.assert_allclose(values[0, 0], [[128, 128, 128], [254, 0, 0]], atol=1)


def test_palette_becomes_rgb():
    ds = picture(np.array([[0, 1], [2, 2]], np.uint8), "PALETTE COLOR")
    for name, column in (("Red", [0, 255, 1]), ("Green", [0, 0, 2]), ("Blue", [9, 0, 3])):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
        ds[f"{name}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(ds, f"{name}PaletteColorLookupTableData", (np.array(column, np.uint16) << 8).tobytes())
        ds[f"{name}PaletteColorLookupTableData"].VR = "OW"
    assert read_series([ds]).values.tolist() == [[[[0, 0, 9], [255, 0, 0]], [[1, 2, 3], [1, 2, 3]]]]


def test_projection_has_its_detector_spacing():
    ds = picture(np.zeros((4, 5), np.uint16), "MONOCHROME2", modality="MG", ImagerPixelSpacing=[0.07, 0.08])
    image = read_series([ds])
    assert image.modality == Modality.MAMMOGRAPHY
    assert image.grid.spacing_mm == (1.0, 0.07, 0.08)


def test_ultrasound_spacing_comes_from_its_only_tissue_region():
    region = pydicom.Dataset()
    region.RegionSpatialFormat, region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 1, 3, 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    ds = picture(np.zeros((4, 5), np.uint8), "MONOCHROME2", SequenceOfUltrasoundRegions=[region])
    assert read_series([ds]).grid.spacing_mm == pytest.approx((1.0, 0.3, 0.2))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_uncompressed_encoding_gives_the_same_values(tmp_path, syntax):
    expected = read_series([dataset(Phantom(), 2)]).values
    ds = dataset(Phantom(), 2)
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        ds.set_original_encoding(False, False)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    values = read_image(tmp_path / "a.dcm").values
    assert (values == expected).all()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_compressions_give_the_same_values(tmp_path, syntax, signed):
    rng = np.random.default_rng(3)
    stored = (
        rng.integers(-2000, 2000, (32, 48)).astype(np.int16)
        if signed
        else rng.integers(0, 4000, (32, 48)).astype(np.uint16)
    )
    ds = compressed(dataset(Phantom(intercept=-24), 0, stored), stored, syntax)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert (read_image(tmp_path / "a.dcm").values[0] == stored.astype(int) - 24).all()


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("JPGExtended.dcm", "JPEG-lossy.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_jpeg_gdcm.dcm"),
    ],
)
def test_files_of_other_makers_give_the_same_values_in_every_compression(packed, plain):
    assert (read_image(BUNDLED / packed).values == read_image(BUNDLED / plain).values).all()


@pytest.mark.parametrize(
    "name",
    [
        "examples_ybr_color.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "examples_rgb_color.dcm",
    ],
)
def test_colour_of_other_makers_is_what_pydicom_says(name):
    expected = pydicom.dcmread(BUNDLED / name).pixel_array
    values = read_image(BUNDLED / name).values
    assert (values == expected.reshape(values.shape)).all()


def test_stream_of_another_size_than_the_header_is_refused_before_it_is_decoded(tmp_path):
    stored = np.zeros((64, 64), np.uint16)
    ds = compressed(dataset(Phantom(), 0, stored), stored, JPEG2000Lossless)
    ds.Rows = 32
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(InputFileError, match=r"a\.dcm declares 32 x 64 pixels, its \d+ compressed bytes 64 x 64"):
        read_image(tmp_path / "a.dcm")


def test_missing_decoder_names_the_line_that_installs_it(tmp_path, monkeypatch):
    ds = dataset(Phantom(), 0)
    ds.compress(JPEGLSLossless, generate_instance_uid=False)
    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "available_plugins", ())
    with pytest.raises(MissingDependencyError, match="pip install pyjpegls"):
        read_series([ds])


def test_video_is_refused_in_words():
    ds = picture(np.zeros((4, 5), np.uint8), "MONOCHROME2")
    ds.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    with pytest.raises(InputFileError, match="MPEG-4"):
        read_series([ds])


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_lossless_colour_jpeg_is_converted_once(photometric):
    import imagecodecs

    stored = np.random.default_rng(3).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    plain = read_series([picture(stored, photometric)])
    stream = imagecodecs.jpeg_encode(stored, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB")
    ds = picture(stored, photometric)
    ds.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    ds.PixelData = pydicom.encaps.encapsulate([bytes(stream)])
    ds["PixelData"].is_undefined_length = True
    assert (read_series([ds]).values == plain.values).all()


def test_jpeg_sizes_are_read_from_their_headers():
    assert dicom_pixels.read_codestream_size(b"\xff\xd8\xff\xfe\x00\x04ab\xff\xc3\x00\x0b\x08\x00\x10\x00\x20\x01") == (
        16,
        32,
    )
    assert dicom_pixels.read_codestream_size(b"nothing of the kind") is None


def test_one_pixel_image(tmp_path):
    path = write_series(tmp_path, Phantom(depth=1, rows=1, columns=1))[0]
    assert read_image(path).values.tolist() == [[[0]]]
