"""Modalities and windows by name, and what is none."""

from __future__ import annotations

import pytest

from medsam.errors import IntensityError
from medsam.imaging.modality import RULES, WINDOWS, Modality, Window, parse_modality, parse_window


def test_the_papers_windows_are_there_by_name() -> None:
    assert WINDOWS["soft-tissue"].bounds == (-160, 240)
    assert WINDOWS["lung"].bounds == (-1350, 150)
    assert WINDOWS["brain"].bounds == (0, 80)
    assert parse_window(" Lung ") == Window(1500, -600)
    assert parse_window("soft_tissue") == parse_window("Soft Tissue") == Window(400, 40)


@pytest.mark.parametrize("text", ["heart", "1,2,3", "0,5", "-5,40", "nan,5", "inf,5", "5,inf", ""])
def test_windows_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(IntensityError):
        parse_window(text)


def test_every_modality_has_a_rule_and_dicom_codes_are_known() -> None:
    assert set(RULES) == set(Modality)
    assert [parse_modality(code) for code in ("CT", "mr", "US", "DX", "MG", "OPT", "OP", "ES")] == [
        Modality.CT, Modality.MR, Modality.ULTRASOUND, Modality.XRAY, Modality.MAMMOGRAPHY, Modality.OCT, Modality.FUNDUS,
        Modality.ENDOSCOPY,
    ]  # fmt: skip
    with pytest.raises(IntensityError, match="'XYZ'"):
        parse_modality("XYZ")
