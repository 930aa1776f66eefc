"""The public names are exactly the list, and `import medsam` and `medsam --help` stay light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import medsam


def test_public_names_are_the_list_and_sorted() -> None:
    assert medsam.__all__ == [
        "Client", "Grid", "Image", "Mask", "MedsamError", "Predictor", "annotate", "dice", "load_predictor", "normalize",
        "normalized_surface_distance", "read_image", "read_mask", "segment_volume", "write_mask",
    ]  # fmt: skip


def test_every_public_name_loads() -> None:
    for name in medsam.__all__:
        assert getattr(medsam, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        medsam.no_such_name  # noqa: B018


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_importing_medsam_loads_no_torch_and_no_numpy() -> None:
    assert not {"torch", "numpy"} & modules_after("import medsam")


def test_help_of_every_verb_loads_no_torch() -> None:
    code = "from medsam.cli.app import VERBS, run\nrun(['--help'])\nfor verb in VERBS: run([verb, '--help'])"
    assert "torch" not in modules_after(code)
