"""Coded meanings (SNOMED CT) for the names that people give to structures.

Codes and meanings follow DICOM PS3.16 (CID 7150 to 7160 and the anatomic CIDs); a name that is not in the table gets a
code of our own scheme, 99MEDSAM, so that a file never claims a meaning nobody stated.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from medsam.errors import PromptError


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
TABLES = ((ABNORMAL, _ABNORMAL), (ANATOMICAL, _ANATOMICAL), (TISSUE, _TISSUE))


def find_coding(name: str, stated: tuple[str, str, str] | None = None) -> Coding:
    """Find the coded meaning of a name such as "Tumor", "left_kidney", "lung 2".

    Numbers at the end and the side are set apart; names that are not in the table get a code of scheme 99MEDSAM.

    Args:
        name: Of a structure.
        stated: Scheme, value and meaning that somebody gave the structure; they win over the name, which then tells
            the side alone, and that only where it names the same structure.
    """
    if stated is not None:
        scheme, value, meaning = stated
        named = find_coding(name)
        same = (named.kind.scheme, named.kind.value) == (scheme, value)
        return Coding(_category_of(scheme, value), Code(value, scheme, meaning), named.side if same else None)
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


def parse_code(text: str) -> tuple[str, str, str]:
    """Read "SCT:10200004:Liver", or "SCT:10200004" or "10200004" where the table knows the meaning.

    Returns:
        Scheme, value and meaning.

    Raises:
        PromptError: not such a text, or parts that DICOM cannot hold.
    """
    parts = [part.strip() for part in text.split(":", 2)]
    scheme, value = ("SCT", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    known = next((table[value][0] for _, table in TABLES if value in table), "") if scheme.upper() == "SCT" else ""
    meaning = parts[2] if len(parts) == 3 else known
    scheme = scheme.upper() if known else scheme
    if not _fits_dicom(scheme, value, meaning):
        raise PromptError(
            f"code is {text[:80]!r}",
            expected="SCHEME:VALUE:MEANING of up to 16, 16 and 64 characters",
            fix="write it as SCT:10200004:Liver; names such as liver or tumor need no code",
        )
    return scheme, value, meaning


def search_codes(words: str, limit: int = 20) -> list[tuple[str, str, str]]:
    """Find SNOMED CT terms by the beginnings of their words, or by their value.

    Args:
        words: As "adren gl"; a term must have a word that begins with each of them. Nothing finds this module's table.
        limit: Most terms to return.

    Returns:
        Scheme, value and meaning; the terms that names lead to first, then those of DICOM, the shorter first.

    Source: the context groups of DICOM PS3.16, as pydicom carries them.
    """
    wanted = re.findall(r"\w+", words.casefold())

    def fits(value: str, meaning: str, more: str = "") -> bool:
        own = [value, *re.findall(r"\w+", f"{meaning} {more}".casefold())]
        return all(any(word.startswith(part) for word in own) for part in wanted)

    named = {
        value: meaning
        for _, table in TABLES
        for value, (meaning, names) in table.items()
        if fits(value, meaning, names)
    }
    rest = {value: meaning for value, meaning in _dicom_terms().items() if wanted and fits(value, meaning)}
    ranked = sorted(named.items(), key=lambda term: term[1].casefold())
    ranked += sorted((term for term in rest.items() if term[0] not in named), key=lambda term: (len(term[1]), term[1]))
    return [("SCT", value, meaning) for value, meaning in ranked[:limit]]


@cache
def _dicom_terms() -> dict[str, str]:
    """Value to meaning of the terms of SNOMED CT in DICOM, which are only those that DICOM can hold."""
    from pydicom.sr._concepts_dict import concepts

    terms = {value: str(meaning) for by_value in concepts["SCT"].values() for value, (meaning, *_) in by_value.items()}
    return {value: meaning for value, meaning in terms.items() if _fits_dicom("SCT", value, meaning)}


def find_stated(name: str, code: tuple[str, str, str]) -> tuple[str, str, str] | None:
    """Find what a file states of a structure beyond its name: its code, or None where the name leads to it anyway."""
    scheme, value, _ = code
    named = find_coding(name).kind
    known = (scheme, value) == (named.scheme, named.value) or scheme == "99MEDSAM"
    return None if known or not _fits_dicom(*code) else code


def _fits_dicom(scheme: str, value: str, meaning: str) -> bool:
    """Whether the parts of a code are texts that DICOM and Slicer's tags hold."""
    text = scheme + value + meaning
    lengths = 0 < len(scheme) <= 16 and 0 < len(value) <= 16 and 0 < len(meaning) <= 64
    return lengths and text.isprintable() and not set(text) & set("\\^~|")


def _category_of(scheme: str, value: str) -> Code:
    """The category of a code in the table; tissue is the one that claims least."""
    return next((category for category, table in TABLES if scheme == "SCT" and value in table), TISSUE)


def _find(words: list[str]) -> tuple[Code, Code] | None:
    key = "-".join(words)
    for category, table in TABLES:
        for value, (meaning, names) in table.items():
            if key in names.split():
                return category, Code(value, "SCT", meaning)
    return None


def write_name(label: int, names: Mapping[int, str]) -> str:
    """A label's name in one printable line, or "Segment 3" for a label without one."""
    name = "".join(c if c.isprintable() else " " for c in names.get(label, "")).strip()
    return name or f"Segment {label}"


def read_name(label: int, name: str) -> str:
    """The name a file states, "" where it is only what write_name made up."""
    return "" if name == f"Segment {label}" else name
