"""Coded meanings (SNOMED CT) and display colours for the names people give to structures.

Codes and meanings follow DICOM PS3.16 (CID 7150 to 7160 and the anatomic CIDs); a name that is not in the table gets a
code of our own scheme, 99MEDSAM, so that a file never claims a meaning nobody stated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A coded concept: value, scheme and meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Coding:
    """What a segment is, as DICOM SEG wants it said.

    Args:
        category: Its property category (CID 7150).
        kind: Its property type.
        side: Laterality, where the name states one.
    """

    category: Code
    kind: Code
    side: Code | None = None


ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMICAL = Code("91723000", "SCT", "Anatomical Structure")
TISSUE = Code("85756007", "SCT", "Tissue")
SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}

_ABNORMAL = {
    "108369006": ("Neoplasm", "tumor tumour neoplasm gtv"),
    "372087000": ("Neoplasm, Primary", "primary-tumor primary-tumour"),
    "14799000": ("Neoplasm, Secondary", "metastasis metastases"),
    "52988006": ("Lesion", "lesion finding"),
    "4147007": ("Mass", "mass"),
    "27925004": ("Nodule", "nodule"),
    "367643001": ("Cyst", "cyst"),
    "79654002": ("Edema", "edema oedema"),
    "6574001": ("Necrosis", "necrosis necrotic-core"),
    "50960005": ("Hemorrhage", "hemorrhage haemorrhage bleeding"),
    "44132006": ("Abscess", "abscess"),
}
_ANATOMICAL = {
    "10200004": ("Liver", "liver"),
    "64033007": ("Kidney", "kidney"),
    "78961009": ("Spleen", "spleen"),
    "39607008": ("Lung", "lung lungs"),
    "80891009": ("Heart", "heart"),
    "12738006": ("Brain", "brain"),
    "41216001": ("Prostate", "prostate"),
    "15776009": ("Pancreas", "pancreas"),
    "69695003": ("Stomach", "stomach"),
    "32849002": ("Esophagus", "esophagus oesophagus"),
    "15825003": ("Aorta", "aorta"),
    "89837001": ("Bladder", "bladder urinary-bladder"),
    "28231008": ("Gallbladder", "gallbladder gall-bladder"),
    "71854001": ("Colon", "colon"),
    "23451007": ("Adrenal gland", "adrenal adrenal-gland"),
    "51282000": ("Vertebra", "vertebra"),
    "2748008": ("Spinal cord", "spinal-cord"),
    "87878005": ("Left ventricle", "left-ventricle lv"),
    "53085002": ("Right ventricle", "right-ventricle rv"),
    "82471001": ("Left atrium", "left-atrium la"),
    "73829009": ("Right atrium", "right-atrium ra"),
    "69748006": ("Thyroid", "thyroid"),
    "76752008": ("Breast", "breast"),
    "35039007": ("Uterus", "uterus"),
    "15497006": ("Ovary", "ovary"),
    "44567001": ("Trachea", "trachea"),
    "955009": ("Bronchus", "bronchus"),
    "34402009": ("Rectum", "rectum"),
    "30315005": ("Small intestine", "small-intestine small-bowel"),
    "38848004": ("Duodenum", "duodenum"),
    "5366008": ("Hippocampus", "hippocampus"),
    "119238007": ("Brain Stem", "brainstem brain-stem"),
    "113305005": ("Cerebellum", "cerebellum"),
    "32764006": ("Portal vein", "portal-vein"),
    "64131007": ("Inferior vena cava", "inferior-vena-cava ivc"),
    "69105007": ("Carotid Artery", "carotid carotid-artery"),
    "81745001": ("Eye", "eye"),
    "113197003": ("Rib", "rib"),
    "71341001": ("Femur", "femur"),
    "91609006": ("Mandible", "mandible"),
    "45289007": ("Parotid gland", "parotid parotid-gland"),
}
_TISSUE = {
    "39937001": ("Skin", "skin"),
    "55603005": ("Fat", "fat adipose-tissue"),
    "51114001": ("Artery", "artery"),
    "29092000": ("Vein", "vein"),
    "91728009": ("Nerve", "nerve"),
}

# Colours that stay apart on grey images, for labels without their own.
PALETTE = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (220, 190, 255), (170, 110, 40), (170, 255, 195),
    (128, 128, 0), (255, 215, 180),
)  # fmt: skip


def coding(name: str) -> Coding:
    """Find the coded meaning of a name such as "Tumor", "left_kidney", "lung 2".

    Numbers at the end and the side are set apart; names that are not in the table get a code of scheme 99MEDSAM.
    """
    words = re.findall(r"[^\W\d_]+|\d+", name.casefold())
    while words and words[-1].isdigit():
        words.pop()
    found = _find(words)
    if found is not None:
        return Coding(*found)
    for side, code in SIDES.items():
        rest = [word for word in words if word != side]
        found = _find(rest) if len(rest) < len(words) else None
        if found is not None:
            return Coding(*found, side=code)
    digest = hashlib.sha256(name.encode()).hexdigest()[:10].upper()
    return Coding(TISSUE, Code(f"NAME-{digest}", "99MEDSAM", name.strip()[:64] or "Segment"))


def _find(words: list[str]) -> tuple[Code, Code] | None:
    key = "-".join(words)
    for category, table in ((ABNORMAL, _ABNORMAL), (ANATOMICAL, _ANATOMICAL), (TISSUE, _TISSUE)):
        for value, (meaning, names) in table.items():
            if key in names.split():
                return category, Code(value, "SCT", meaning)
    return None


def color_of(label: int) -> tuple[int, int, int]:
    """A display colour for a label that has none of its own; the same label always gets the same one."""
    return PALETTE[(label - 1) % len(PALETTE)]


def name_of(label: int, names: Mapping[int, str]) -> str:
    """A label's name in one printable line, or "Segment 3" for a label without one."""
    name = "".join(c if c.isprintable() else " " for c in names.get(label, "")).strip()
    return name or f"Segment {label}"


def stated_name(label: int, name: str) -> str:
    """The name a file states, "" where it is only what name_of made up."""
    return "" if name == f"Segment {label}" else name
