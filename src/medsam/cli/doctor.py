"""`medsam doctor`: what is installed, what is missing, and the line that mends it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from medsam.cli.flags import ThisTerminal

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "openmedsam"
_SYNTAXES = {
    "1.2.840.10008.1.2.5": "RLE",
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG 12 bit",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "HTJ2K",
}
_DECODERS = "pylibjpeg pylibjpeg-openjpeg pylibjpeg-rle pyjpegls imagecodecs"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        state: "ok"; "note" for what is optional or comes by itself; "BROKEN" for what must be mended.
        text: What was found.
        fix: The command that mends it.
    """

    state: Literal["ok", "note", "BROKEN"]
    text: str
    fix: str = ""


def doctor(*, terminal: ThisTerminal) -> int:
    """Tell what is installed, what is missing and how to mend it; ends with 1 if something needed is broken."""
    where = f"{PACKAGE} {_version(PACKAGE) or 'not installed'} on {platform.system()} {platform.machine()}"
    found: list[Finding] = []
    for check in (_python, _torch, _packages, _torchvision, _codecs, _cache, _weights, _self_test):
        found += run_check(check)
    broken = sum(finding.state == "BROKEN" for finding in found)
    lines = [f"{f.state:6}  {f.text}" + (f"\n        -> {f.fix}" if f.fix else "") for f in found]
    end = f"\n{broken} to mend" if broken else "\nAll that is needed is here."
    terminal.answer({"program": where, "findings": [asdict(f) for f in found]}, "\n".join([where, *lines, end]))
    return 1 if broken else 0


def run_check(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run one check; whatever a broken installation throws becomes a line, because reporting it is the job."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - the outermost border, and a broken package may raise anything
        told = " ".join(str(error).split())[:300] or type(error).__name__
        yield Finding("BROKEN", f"{check.__name__.strip('_')}: {told}", f"pip install --force-reinstall {PACKAGE}")


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = (3, 11) <= sys.version_info[:2] < (3, 14)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = f", {_memory_bytes() / 2**30:.0f} GiB memory" if _memory_bytes() else ""
    yield Finding(
        "ok" if good else "BROKEN",
        f"Python {version} ({sys.executable}), {cores} cores{memory}",
        "" if good else "use Python 3.11, 3.12 or 3.13",
    )


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _torch() -> Iterator[Finding]:
    import torch

    devices = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    yield Finding("ok", f"torch {torch.__version__}, devices: {', '.join([*devices, 'cpu'])}")
    if torch.version.cuda and not torch.cuda.is_available():
        yield Finding("note", f"torch is built for CUDA {torch.version.cuda} but finds no GPU it can use", "nvidia-smi")


def _packages() -> Iterator[Finding]:
    """Core packages and each extra, as the installed package itself declares them."""
    from packaging.requirements import Requirement

    declared = [Requirement(line) for line in metadata.requires(PACKAGE) or []]
    extras = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    core = [r for r in declared if r.marker is None or r.marker.evaluate({"extra": ""})]
    problems = [told for r in core for told in find_problem(r)]
    mend = " ".join(f"'{r.name}{r.specifier}'" for r in core if find_problem(r))
    yield Finding(
        "BROKEN" if problems else "ok",
        f"core packages: {', '.join(problems) or 'all here'}",
        f"pip install {mend}" if problems else "",
    )
    for extra in extras:
        if extra == "all":  # the other extras together
            continue
        mine = [r for r in declared if r.marker and "extra" in str(r.marker) and r.marker.evaluate({"extra": extra})]
        problems = [told for r in mine for told in find_problem(r)]
        yield Finding(
            "note" if problems else "ok",
            f"extra {extra}: {', '.join(problems) or 'all here'}",
            f"pip install '{PACKAGE}[{extra}]'" if problems else "",
        )


def find_problem(requirement: Requirement) -> list[str]:
    """What is wrong with one requirement here: nothing, or one phrase."""
    found = _version(requirement.name)
    if found is None:
        return [f"{requirement.name} missing"]
    if not requirement.specifier.contains(found, prereleases=True):
        return [f"{requirement.name} {found} is not {requirement.specifier}"]
    return []


def _torchvision() -> Iterator[Finding]:
    """The package does not use torchvision, but one built for another torch breaks transformers and others."""
    from packaging.requirements import Requirement

    found, torch_version = _version("torchvision"), _version("torch")
    if found is None or torch_version is None:
        return
    wanted = [r for r in map(Requirement, metadata.requires("torchvision") or []) if r.name == "torch"]
    if any(not r.specifier.contains(torch_version.partition("+")[0], prereleases=True) for r in wanted):
        yield Finding(
            "note",
            f"torchvision {found} is built for torch{wanted[0].specifier}, here is {torch_version}; it will not import",
            "pip uninstall torchvision",
        )


def _codecs() -> Iterator[Finding]:
    """The compressions of DICOM, asked of the decoders this package uses and no others."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    from medsam.io.dicom.pixels import PLUGINS, TURBO

    turbo = _version("imagecodecs") is not None
    missing = [
        name
        for uid, name in _SYNTAXES.items()
        if not (turbo and uid in TURBO) and not set(PLUGINS) & set(get_decoder(UID(uid)).available_plugins)
    ]
    yield Finding(
        "note" if missing else "ok",
        f"DICOM codecs: {'cannot read ' + ', '.join(missing) if missing else ', '.join(_SYNTAXES.values())}",
        f"pip install {_DECODERS}" if missing else "",
    )


def _cache() -> Iterator[Finding]:
    import shutil

    from medsam.models.weights.catalog import read_settings

    where = read_settings()
    nearest = next(folder for folder in (where.folder, *where.folder.parents) if folder.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    room = f", {shutil.disk_usage(nearest).free / 1e9:.0f} GB free" if writable else ""
    offline = ", offline (MEDSAM_OFFLINE)" if where.offline else ""
    yield Finding(
        "ok" if writable else "BROKEN",
        f"cache folder {where.folder}{room}{offline}" + ("" if writable else " cannot be written"),
        "" if writable else "export MEDSAM_CACHE=/a/folder/you/can/write",
    )


def _weights() -> Iterator[Finding]:
    from medsam.errors import ModelUnavailableError
    from medsam.models.weights.catalog import CATALOG, DEFAULT, describe_by_hand, find_cached, read_settings, verify

    here = [name for name in CATALOG if find_cached(name)]
    if DEFAULT not in here:
        fix = describe_by_hand(CATALOG[DEFAULT]) if read_settings().offline else f"medsam models fetch {DEFAULT}"
        yield Finding("note", f"default weights {DEFAULT} are not here yet; the first run fetches them", fix)
        return
    try:
        sha256 = verify(DEFAULT)
    except ModelUnavailableError as error:
        yield Finding("BROKEN", error.got, f"move it away, then medsam models fetch {DEFAULT}")
        return
    yield Finding("ok", f"weights here: {', '.join(here)}; {DEFAULT} has the published sha256 {sha256[:12]}...")


def _self_test() -> Iterator[Finding]:
    """Segment a drawn disc from its box with the default weights, where they are here."""
    from medsam.models.weights.catalog import DEFAULT, find_cached

    if find_cached(DEFAULT) is None:
        return
    import time

    import numpy as np

    from medsam.inference.predictor import load_predictor

    rows, columns = np.mgrid[:128, :128]
    disc = (rows - 64) ** 2 + (columns - 60) ** 2 <= 30**2
    picture = np.where(disc, 190, 60).astype(np.uint8)[..., None].repeat(3, axis=2)
    start = time.perf_counter()
    predictor = load_predictor(DEFAULT, device="cpu")
    masks, _ = predictor.decode(predictor.embed(picture), boxes=[(30, 34, 91, 95)])
    seconds = time.perf_counter() - start
    overlap = 2 * int((masks[0] & disc).sum()) / max(int(masks[0].sum() + disc.sum()), 1)
    good = overlap > 0.9
    yield Finding(
        "ok" if good else "BROKEN",
        f"self-test: a drawn disc segmented with Dice {overlap:.3f} in {seconds:.1f} s",
        "" if good else f"medsam models verify {DEFAULT}, then report this line",
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
