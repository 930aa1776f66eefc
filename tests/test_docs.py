"""The docs tell the truth: verbs, names and errors are in them, links resolve, the example runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

import medsam
from medsam import errors
from medsam.cli.app import VERBS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_is_in_the_commands_page(verb: str) -> None:
    assert f"`medsam {verb}" in (ROOT / "docs/commands.md").read_text()


@pytest.mark.parametrize("name", medsam.__all__)
def test_every_public_name_is_in_the_api_page(name: str) -> None:
    assert re.search(rf"^\| `{name}\b", (ROOT / "docs/api.md").read_text(), flags=re.MULTILINE)


def test_every_error_is_in_the_api_page() -> None:
    page = (ROOT / "docs/api.md").read_text()
    kinds = [n for n, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.MedsamError)]
    assert len(kinds) > 8
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_resolve(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_the_api_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    zz, yy, xx = np.mgrid[:8, :96, :96]
    ball = ((zz - 4) * 4) ** 2 + (yy - 40) ** 2 + (xx - 50) ** 2 <= 18**2
    markers = np.zeros(ball.shape, np.uint8)
    markers[[3, 5], 40, 33:68] = 1
    markers[[3, 5], 23:58, 50] = 1
    affine = np.diag([0.8, 0.8, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.where(ball, 120, 20).astype(np.int16).T, affine), tmp_path / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(markers.T, affine), tmp_path / "markers.nii.gz")
    monkeypatch.chdir(tmp_path)
    [example] = code_blocks(ROOT / "docs/api.md", "python")
    exec(compile(example, "docs/api.md", "exec"), {})
    overlap, surface = (float(word) for word in capsys.readouterr().out.split())
    assert overlap > 0.7
    assert surface > 0.7
    assert medsam.read_mask("tumor.nrrd").labels[3:6].any(axis=(1, 2)).all()
