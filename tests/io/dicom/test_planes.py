"""The frames of an object and what its header says of them."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantom import Phantom, dataset, enhanced, picture
from pydicom.uid import RLELossless

from medsam.errors import InputFileError
from medsam.io.dicom.image import read_series


def test_frames_and_their_descriptions_must_agree():
    ds = enhanced(Phantom())
    ds.PerFrameFunctionalGroupsSequence = list(ds.PerFrameFunctionalGroupsSequence)[:-1]
    with pytest.raises(InputFileError, match="declares 6 frames but describes 5"):
        read_series([ds])


def test_cine_frames_do_not_mix_with_other_objects():
    one, two = (picture(np.zeros((2, 4, 5), np.uint8), "MONOCHROME2") for _ in range(2))
    with pytest.raises(InputFileError, match=r"holds 2"):
        read_series([one, two])


def test_compressed_object_with_more_frames_than_bytes_is_refused_at_once():
    ds = picture(np.zeros((2, 4, 5), np.uint8), "MONOCHROME2")
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.NumberOfFrames = 90_000
    with pytest.raises(InputFileError, match="declares at least 720000 bytes"):
        read_series([ds])


@pytest.mark.parametrize(("keyword", "value"), [("RescaleIntercept", ""), ("RescaleSlope", ""), ("RescaleSlope", "0")])
def test_a_ct_with_half_a_rescale_is_refused_by_the_name_of_the_attribute(keyword, value):
    ds = dataset(Phantom(), 0)
    setattr(ds, keyword, value)
    with pytest.raises(InputFileError, match=f"has no usable {keyword}"):
        read_series([ds])
    ds.Modality = "MR"
    read_series([ds])


def test_a_ct_without_any_rescale_holds_its_stored_values():
    ds = dataset(Phantom(), 0)
    del ds.RescaleSlope, ds.RescaleIntercept
    assert np.array_equal(read_series([ds]).values[0], Phantom().identity(0))
