"""The names of the image encoders a model can have, and of the arithmetics they run in."""

from __future__ import annotations

from typing import Literal

Architecture = Literal["vit_b", "vit_l", "vit_h", "tiny_vit", "tiny_vit_s"]
LIGHT: tuple[Architecture, ...] = ("tiny_vit", "tiny_vit_s")
Precision = Literal["fp32", "bf16", "fp16", "int8"]
