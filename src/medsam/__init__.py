"""openmedsam: segment medical images from prompts.

The public names load on first use, so that `import medsam` stays light and never loads torch by itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medsam.annotation.annotate import annotate
    from medsam.client.client import Client
    from medsam.errors import MedsamError
    from medsam.evaluation.metrics import dice, normalized_surface_distance
    from medsam.imaging.image import Grid, Image, Mask
    from medsam.imaging.intensity import normalize
    from medsam.inference.predictor import Predictor, load_predictor
    from medsam.inference.volume.objects import segment_volume
    from medsam.io.formats import read_image, read_mask, write_mask

__version__ = "0.1.0"

_HOMES = {
    "Client": "medsam.client.client",
    "Grid": "medsam.imaging.image",
    "Image": "medsam.imaging.image",
    "Mask": "medsam.imaging.image",
    "MedsamError": "medsam.errors",
    "Predictor": "medsam.inference.predictor",
    "annotate": "medsam.annotation.annotate",
    "dice": "medsam.evaluation.metrics",
    "load_predictor": "medsam.inference.predictor",
    "normalize": "medsam.imaging.intensity",
    "normalized_surface_distance": "medsam.evaluation.metrics",
    "read_image": "medsam.io.formats",
    "read_mask": "medsam.io.formats",
    "segment_volume": "medsam.inference.volume.objects",
    "write_mask": "medsam.io.formats",
}

__all__ = [
    "Client",
    "Grid",
    "Image",
    "Mask",
    "MedsamError",
    "Predictor",
    "annotate",
    "dice",
    "load_predictor",
    "normalize",
    "normalized_surface_distance",
    "read_image",
    "read_mask",
    "segment_volume",
    "write_mask",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'medsam' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
