"""The flags that several verbs share: each group is written once, with one help text and one default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from medsam.cli.terminal import Terminal
from medsam.imaging.box_options import BoxOptions
from medsam.jobs.options import (
    EngineOptions,
    FileOptions,
    IntensityOptions,
    MaskOptions,
    ModelOptions,
    Plane,
    RunOptions,
)


def _group(name: str, place: int) -> Parameter:
    return Parameter(name="*", group=Group(name, sort_key=place), negative=(), allow_leading_hyphen=True)


FileFlags = Annotated[FileOptions, _group("Which image", 2)]
IntensityFlags = Annotated[IntensityOptions, _group("Intensities", 3)]
BoxFlags = Annotated[BoxOptions, _group("Boxes from markers", 4)]
MaskFlags = Annotated[MaskOptions, _group("Output", 5)]
RunFlags = Annotated[RunOptions, _group("Output", 5)]
ModelFlags = Annotated[ModelOptions, _group("Model", 6)]
EngineFlags = Annotated[EngineOptions, _group("Model", 6)]
PlaneFlag = Annotated[
    Plane | None, Parameter(help="The slices that are meant; the file's own storage order without it.")
]
Output = Annotated[Path, Parameter(name=["--output", "-o"])]
Switch = Annotated[bool, Parameter(negative=())]
Overwrite = Annotated[bool, Parameter(negative=(), help="Replace outputs that exist.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda or mps; the best one there without it.")]
ThisTerminal = Annotated[Terminal, Parameter(parse=False)]
