"""Modalities, CT windows, and which intensity rule each modality gets (paper, Methods, Dataset curation)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from medsam.errors import IntensityError


class Modality(StrEnum):
    """What made the image: the paper's ten modalities, and microscopy and PET beside them."""

    CT = "CT"
    MR = "MR"
    XRAY = "X-ray"
    ULTRASOUND = "ultrasound"
    MAMMOGRAPHY = "mammography"
    OCT = "OCT"
    ENDOSCOPY = "endoscopy"
    DERMOSCOPY = "dermoscopy"
    FUNDUS = "fundus"
    PATHOLOGY = "pathology"
    MICROSCOPY = "microscopy"
    PET = "PET"


class IntensityRule(StrEnum):
    """How raw values become [0, 255]."""

    WINDOW = "window"  # clip to a window in HU, rescale by its bounds
    PERCENTILE = "percentile"  # clip to the 0.5 to 99.5 percentile, rescale
    COLOR = "color"  # unchanged in [0, 255], min-max otherwise


RULES = {
    Modality.CT: IntensityRule.WINDOW,
    Modality.MR: IntensityRule.PERCENTILE,
    Modality.XRAY: IntensityRule.PERCENTILE,
    Modality.ULTRASOUND: IntensityRule.PERCENTILE,
    Modality.MAMMOGRAPHY: IntensityRule.PERCENTILE,
    Modality.OCT: IntensityRule.PERCENTILE,
    Modality.PET: IntensityRule.PERCENTILE,
    Modality.ENDOSCOPY: IntensityRule.COLOR,
    Modality.DERMOSCOPY: IntensityRule.COLOR,
    Modality.FUNDUS: IntensityRule.COLOR,
    Modality.PATHOLOGY: IntensityRule.COLOR,
    Modality.MICROSCOPY: IntensityRule.COLOR,
}

ALIASES = {
    "mri": Modality.MR, "cr": Modality.XRAY, "dx": Modality.XRAY, "xray": Modality.XRAY, "cxr": Modality.XRAY, "rf": Modality.XRAY,
    "xa": Modality.XRAY, "rg": Modality.XRAY, "io": Modality.XRAY, "px": Modality.XRAY,
    "dg": Modality.XRAY, "us": Modality.ULTRASOUND, "ivus": Modality.ULTRASOUND, "mg": Modality.MAMMOGRAPHY,
    "mammo": Modality.MAMMOGRAPHY, "opt": Modality.OCT, "ivoct": Modality.OCT, "es": Modality.ENDOSCOPY, "dms": Modality.DERMOSCOPY,
    "dermatoscopy": Modality.DERMOSCOPY, "op": Modality.FUNDUS, "sm": Modality.PATHOLOGY, "histology": Modality.PATHOLOGY,
    "gm": Modality.MICROSCOPY, "pt": Modality.PET,
}  # fmt: skip


@dataclass(frozen=True)
class Window:
    """A CT window in Hounsfield units.

    Args:
        width: Distance between the bounds, positive.
        level: Its centre.
    """

    width: float
    level: float

    def __post_init__(self) -> None:
        if not (self.width > 0 and abs(self.level) < float("inf") and self.width < float("inf")):
            raise IntensityError(
                f"window is W{self.width} L{self.level}",
                expected="a positive width and a finite level",
                fix="pass --window W,L, for example 400,40",
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value shown."""
        return self.level - self.width / 2, self.level + self.width / 2


# The paper prints -160 as the lung level; the standard is -600 (docs/science.md). Bone to mediastinum: common clinical presets.
WINDOWS = {
    "soft-tissue": Window(400, 40),
    "lung": Window(1500, -600),
    "brain": Window(80, 40),
    "bone": Window(1800, 400),
    "liver": Window(150, 30),
    "abdomen": Window(400, 50),
    "mediastinum": Window(350, 50),
    "angiography": Window(600, 300),
    "stroke": Window(40, 40),
    "subdural": Window(215, 75),
    "temporal-bone": Window(2800, 600),
}


def _hyphened(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def parse_modality(text: str | Modality) -> Modality:
    """Find the modality a name or DICOM Modality code stands for.

    Args:
        text: "CT", "mri", "US", "X-ray" and so on; case is ignored, "_" and " " are "-".

    Raises:
        IntensityError: nobody calls a modality that.
    """
    key = _hyphened(str(text))
    for modality in Modality:
        if key == modality.value.lower():
            return modality
    if key in ALIASES:
        return ALIASES[key]
    names = ", ".join(m.value for m in Modality)
    raise IntensityError(f"modality is {text!r}", expected=f"one of {names}", fix="pass --modality with one of them")


def parse_window(text: str | Window | tuple[float, float]) -> Window:
    """Find the window a name ("lung") or a pair of width and level ("400,40", (400, 40)) stands for.

    Raises:
        IntensityError: an unknown name or not two numbers.
    """
    if isinstance(text, Window):
        return text
    if not isinstance(text, str):
        width, level = text
        return Window(float(width), float(level))
    name = _hyphened(text)
    if name in WINDOWS:
        return WINDOWS[name]
    try:
        width, level = (float(part) for part in text.split(","))
    except ValueError:
        names = ", ".join(WINDOWS)
        raise IntensityError(
            f"window is {text!r}",
            expected=f"one of {names}, or width,level",
            fix="pass --window soft-tissue or --window 400,40",
        ) from None
    return Window(width, level)
