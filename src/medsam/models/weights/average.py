"""The weighted mean of several weights, tensor by tensor, with a card that names its parts.

Source: Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT, CVPR 2022) and "Model soups" (ICML 2022): between a fine-tuned
model and its origin lies one that carries over to other data better than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from medsam.errors import CheckpointError
from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.checkpoint import load_checkpoint
from medsam.models.weights.manifest import Manifest

SAME = ("architecture", "frame_size", "fit", "interpolation", "scaling", "upsample")


@dataclass(frozen=True)
class AveragePart:
    """One part of a mean.

    Args:
        manifest: Of its weights, with their sha256.
        share: 0 to 1; the shares of all parts add up to 1.
    """

    manifest: Manifest
    share: float


def average_weights(
    sources: Sequence[tuple[Path, Manifest | None]], shares: Sequence[float] | None = None, *, name: str
) -> tuple[MedSAM, Manifest, tuple[AveragePart, ...]]:
    """Average weights of one architecture and one pre-processing.

    Args:
        sources: At least two files, each with its manifest where the file does not carry it.
        shares: One for each, above 0; they are divided by their sum. Equal without it.
        name: Of the mean.

    Returns:
        The model, its manifest (prompts that every part was trained for, quality and further masks only where every part has
        them, the licences of all parts), and the parts.

    Raises:
        CheckpointError: fewer than two parts, shares that do not fit, or parts that differ in architecture or pre-processing.
    """
    weights = _shares(shares, len(sources))
    total: dict[str, Tensor] = {}
    parts: list[AveragePart] = []
    model: MedSAM | None = None
    for (path, given), share in zip(sources, weights, strict=True):
        model, manifest = load_checkpoint(path, given)
        if parts:
            _refuse_other(parts[0].manifest, manifest)
        parts.append(AveragePart(manifest, share))
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                total[key] = total.get(key, torch.zeros(())) + share * tensor.double()
            else:
                total[key] = tensor  # counters of batch norms: the last part's
    assert model is not None  # noqa: S101 - there are two sources at least
    model.load_state_dict({key: tensor.to(model.state_dict()[key].dtype) for key, tensor in total.items()})
    return model, _joint_manifest([part.manifest for part in parts], name), tuple(parts)


def _shares(shares: Sequence[float] | None, count: int) -> list[float]:
    given = [1.0] * count if shares is None else [float(share) for share in shares]
    finite = all(0 < share < float("inf") for share in given)
    if count < 2 or len(given) != count or not finite:
        raise CheckpointError(
            f"{count} weights with the shares {', '.join(f'{share:g}' for share in given)}",
            expected="at least two weights and a share above 0 for each",
            fix="give them as --weights 0.5,0.5",
        )
    return [share / sum(given) for share in given]


def _refuse_other(first: Manifest, other: Manifest) -> None:
    differing = [field for field in SAME if getattr(first, field) != getattr(other, field)]
    if differing:
        field = differing[0]
        raise CheckpointError(
            f"{other.name} has {field} {getattr(other, field)} and {first.name} has {getattr(first, field)}",
            expected="parts of one architecture and one pre-processing",
            fix="average weights that were trained from one another",
        )


def _joint_manifest(parts: Sequence[Manifest], name: str) -> Manifest:
    licences = dict.fromkeys(part.licence or "licence not stated" for part in parts)
    return replace(
        parts[0],
        name=name,
        prompts=tuple(prompt for prompt in parts[0].prompts if all(prompt in part.prompts for part in parts)),
        multimask=all(part.multimask for part in parts),
        quality_trained=all(part.quality_trained for part in parts),
        sha256=None,
        licence=" and ".join(licences),
    )


def describe_average(manifest: Manifest, parts: Sequence[AveragePart]) -> str:
    """The card of a mean in Markdown: its parts, their shares, hashes and licences."""
    rows = "".join(
        f"| {part.manifest.name} | {part.share:.4g} | {part.manifest.sha256 or 'not known'} | "
        f"{part.manifest.licence or 'not stated'} |\n"
        for part in parts
    )
    return (
        f"# {manifest.name}\n\nThe weighted mean of {len(parts)} weights, tensor by tensor.\n\n"
        f"| part | share | sha256 | licence |\n|---|---|---|---|\n{rows}\n"
        f"Architecture {manifest.architecture}, frame {manifest.frame_size}, prompts {', '.join(manifest.prompts) or 'none'}.\n"
        f"sha256 {manifest.sha256 or 'not known'}.\n\n"
        f"Licence: {manifest.licence}. Where the parts' licences differ, each of them binds the mean. "
        "Not a medical device: look at every mask.\n"
    )
