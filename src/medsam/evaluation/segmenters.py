"""From a model's name, file or folder to what answers prompts: a promptable model, a specialist, or an nnU-Net."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

from medsam.baselines.nnunet import CHECKPOINT, NnUNetSegmenter, find_nnunet_model
from medsam.baselines.specialist import is_specialist, load_specialist
from medsam.errors import CheckpointError, IntensityError
from medsam.evaluation.comparators import Comparator, compare_segmenter
from medsam.evaluation.evaluate import PromptedPicture
from medsam.evaluation.measure import Answer, Segmenter
from medsam.imaging.modality import parse_modality
from medsam.inference.predictor import load_predictor
from medsam.inference.runtimes.fastest import RuntimeName
from medsam.inference.runtimes.torch import choose_device
from medsam.models.networks.architecture import Precision
from medsam.models.weights.file import digest


@dataclass(frozen=True, eq=False)
class NamedSegmenter:
    """A model with what tells it from others.

    Args:
        name: As tables call it.
        weights: Identity of its weights.
        segmenter: Answers prompts; its embeddings are its own affair.
    """

    name: str
    weights: str
    segmenter: Segmenter[object]


def load_segmenter(
    model: str | Path | None = None, *, device: str | None = None, precision: Precision = "fp32",
    runtime: RuntimeName = "torch",
) -> NamedSegmenter:  # fmt: skip
    """Load what evaluation can measure.

    Args:
        model: A catalog name, a weights file, the file of a specialist, or the folder of a trained nnU-Net; the default
            model without it.
        device: As choose_device.
        precision: Of a promptable model's image encoder; others run in fp32.
        runtime: Of a promptable model's image encoder; others run in torch.

    Raises:
        MedsamError: as load_predictor, load_specialist and NnUNetSegmenter.
    """
    if model is not None:
        folder = find_nnunet_model(Path(model))
        if folder is not None:
            trained = NnUNetSegmenter(folder, choose_device(device))
            return NamedSegmenter(trained.name, digest(trained.weights), cast(Segmenter[object], trained))
        if is_specialist(Path(model)):
            specialist = load_specialist(Path(model), choose_device(device))
            manifest = specialist.manifest
            return NamedSegmenter(
                manifest.name, manifest.sha256 or manifest.data_sha256, cast(Segmenter[object], specialist)
            )
    predictor = load_predictor(model, device=device, precision=precision, runtime=runtime)
    weights = predictor.manifest.sha256 or predictor.weights
    return NamedSegmenter(predictor.manifest.name, weights, cast(Segmenter[object], predictor))


WEIGHTS = "model.safetensors"  # of a specialist, in the folder of its run
LOADED = 2  # specialists of one family that stay in memory


def compare_specialists(name: str, folder: Path, *, device: str | None = None) -> Comparator:
    """Make one comparator of specialists of several modalities: each picture is asked of the one of its modality.

    A picture of a modality without a specialist is a fault of that picture.

    Args:
        name: As tables call them.
        folder: Holds a folder for each modality, named as it, with a run of medsam baseline train or of nnU-Net in it.
        device: As choose_device.

    Raises:
        CheckpointError: it holds no specialist, or two of one modality.
    """
    places: dict[str, Path] = {}
    for below in sorted(folder.iterdir()) if folder.is_dir() else []:
        model = below / WEIGHTS if (below / WEIGHTS).is_file() else find_nnunet_model(below)
        if model is None:
            continue
        try:
            modality = parse_modality(below.name).value
        except IntensityError:
            raise CheckpointError(
                f"{below} is named after no modality", expected="CT, MR, ultrasound, ...", fix="rename it"
            ) from None
        if modality in places:
            raise CheckpointError(f"{folder} holds two specialists for {modality}", expected="one", fix="move one away")
        places[modality] = model
    if not places:
        raise CheckpointError(
            f"{folder} holds no specialist", expected=f"FOLDER/MODALITY/{WEIGHTS}", fix="train one for each modality"
        )

    @lru_cache(maxsize=LOADED)
    def load(modality: str) -> Comparator:
        one = load_segmenter(places[modality], device=device)
        return compare_segmenter(name, one.weights, one.segmenter)

    def answer(picture: PromptedPicture) -> Answer:
        if picture.modality not in places:
            raise CheckpointError(
                f"no specialist for {picture.modality}", expected=", ".join(places), fix="train one for it"
            )
        return load(picture.modality).answer(picture)

    weights = "; ".join(f"{modality} {digest(_weights_file(path))}" for modality, path in places.items())
    return Comparator(name, weights, answer)


def _weights_file(model: Path) -> Path:
    return model / CHECKPOINT if model.is_dir() else model
