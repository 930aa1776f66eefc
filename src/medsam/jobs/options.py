"""The choices that several jobs take alike, each with its one default; nothing heavy is loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medsam.errors import DataError
from medsam.models.networks.architecture import Precision

if TYPE_CHECKING:
    from medsam.inference.predictor import Predictor

Plane = Literal["axial", "coronal", "sagittal"]


@dataclass(frozen=True)
class EngineOptions:
    """Where the model runs.

    Args:
        engine: In this process, or on the devices of a Ray cluster.
        address: Of a running Ray cluster, as HOST:PORT; without it Ray starts one on this machine.
    """

    engine: Literal["local", "ray"] = "local"
    address: str | None = None

    @property
    def on_cluster(self) -> bool:
        """Whether Ray is asked for.

        Raises:
            DataError: an address without it.
        """
        if self.address is not None and self.engine != "ray":
            raise DataError(
                f"an address for the engine {self.engine!r}", expected="--engine ray", fix="leave --address out"
            )
        return self.engine == "ray"


@dataclass(frozen=True)
class ModelOptions:
    """Which model segments, and what it runs on.

    Args:
        model: Catalog name or weights file; the default model without it.
        like: The catalog model that a weights file from elsewhere was trained from, where the file does not say.
        device: cpu, cuda or mps; the best one there without it.
        precision: Arithmetic of the image encoder.
        runtime: What runs the image encoder.
    """

    model: str | None = None
    like: str | None = None
    device: str | None = None
    precision: Precision = "fp32"
    runtime: Literal["auto", "torch", "openvino"] = "torch"

    def load(self, engine: EngineOptions = EngineOptions()) -> Predictor:
        """Load the model.

        Args:
            engine: Where it runs.

        Raises:
            MedsamError: as load_predictor, and as engine.Devices.
        """
        from medsam.inference.predictor import Predictor, load_predictor

        if engine.on_cluster:
            from medsam.inference.cluster import load_on_cluster

            loaded, devices = load_on_cluster(
                self.model, like=self.like, device=self.device, precision=self.precision, runtime=self.runtime,
                address=engine.address,
            )  # fmt: skip
            return Predictor(loaded.runtime, loaded.manifest, weights=loaded.weights, devices=devices)
        return load_predictor(
            self.model, like=self.like, device=self.device, precision=self.precision, runtime=self.runtime
        )


@dataclass(frozen=True)
class FileOptions:
    """Which image of a file or folder is meant.

    Args:
        series: Number or UID of the series to take from a DICOM folder that holds several.
        geometry: Refuse DICOM series with gaps or tilt, or resample them onto a regular grid.
        volume: Which volume of a file that holds several, from 0.
    """

    series: str | None = None
    geometry: Literal["refuse", "resample"] = "refuse"
    volume: int | None = None


@dataclass(frozen=True)
class IntensityOptions:
    """What the values of the image mean.

    Args:
        modality: CT, MR, ultrasound, ... where the file does not say.
        window: CT window: soft-tissue, lung, brain, bone, ... or width,level.
    """

    modality: str | None = None
    window: str | None = None


@dataclass(frozen=True)
class MaskOptions:
    """How a mask is written.

    Args:
        format: Format where the suffix does not tell it (rtstruct, dicom-seg:LABELMAP, stl:per-label); for a folder of
            masks, their suffix.
        reference: The image or DICOM series the mask belongs to, where the input is not it.
        overwrite: Replace outputs that exist.
    """

    format: str | None = None
    reference: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class RunOptions:
    """What a run leaves beside its mask.

    Args:
        overlay: Picture (.png) of up to 12 slices with contours and prompts; a folder for several inputs.
        record: JSON file of the model, the prompts, the scores, the versions and the seconds.
        cache: Folder for embeddings, so that the next prompts on the same scan answer fast.
    """

    overlay: Path | None = None
    record: Path | None = None
    cache: Path | None = None
