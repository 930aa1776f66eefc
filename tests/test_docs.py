"""The docs tell the truth: verbs, names and errors are in them, links resolve, the example runs."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
from cyclopts import CycloptsError
from dicom_phantom import Phantom, write_series
from PIL import Image as Picture

import medsam
from medsam import errors
from medsam.cli.app import VERBS, build_app, join_numbers, run

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words of every complete `medsam ...` line in a page's blocks of code."""
    found = []
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.findall(r"(?:^|[;$] *|do |=1 )medsam ([^;]*)", line):
                plain = re.sub(r"\$\([^)]*\)", "X", command)  # what a shell would put there is one word
                if "..." not in plain:
                    found.append(shlex.split(plain, comments=True))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_in_the_docs_is_understood(page: Path) -> None:
    for words in commands(page):
        app = build_app()
        _, bound, _ = app.meta.parse_args(join_numbers(words), exit_on_error=False, print_error=False)
        app.parse_args(bound.args, exit_on_error=False, print_error=False)


def test_there_are_commands_to_try_and_a_wrong_flag_is_seen(tmp_path: Path) -> None:
    assert sum(len(commands(page)) for page in PAGES) > 40
    (tmp_path / "a.md").write_text("```sh\nmedsam segment a.png --bocks 1,2,3,4 -o b.png\n```\n")
    with pytest.raises(CycloptsError, match="bocks"):
        test_every_command_in_the_docs_is_understood(tmp_path / "a.md")


@pytest.fixture
def readme_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the commands of the README name: a liver, photos, a CT series with axes drawn in 3D Slicer."""
    monkeypatch.chdir(tmp_path)
    yy, xx = np.mgrid[:360, :200]
    liver = np.where((yy - 302) ** 2 + (xx - 142) ** 2 < 44**2, 110, 0).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(np.repeat(liver[None], 41, axis=0).T, np.diag([-1, -1, 3.0, 1])), "liver.nii.gz")
    Path("photos").mkdir()
    for name in ("a", "b"):
        disc = (np.mgrid[:100, :120][0] - 50) ** 2 + (np.mgrid[:100, :120][1] - 60) ** 2 < 30**2
        Picture.fromarray(np.where(disc[..., None], (200, 90, 80), (40, 30, 30)).astype(np.uint8)).save(
            f"photos/{name}.png"
        )
    Path("boxes.csv").write_text("image,x0,y0,x1,y1\na.png,28,18,92,82\nb.png,28,18,92,82\n")
    ct = Phantom(rows=64, columns=64, tags=(("WindowCenter", 50), ("WindowWidth", 400)))
    lesion = (np.mgrid[:64, :64][0] - 32) ** 2 + (np.mgrid[:64, :64][1] - 30) ** 2 < 12**2
    write_series(tmp_path / "ct_folder", ct, lambda _: np.where(lesion, 150, 0))
    axes = [[[k, 32, 18], [k, 32, 42]] for k in (1, 4)] + [[[k, 20, 30], [k, 44, 30]] for k in (1, 4)]
    lines = [
        {"type": "Line", "coordinateSystem": "LPS", "controlPoints": [{"position": p} for p in ct.world(ends).tolist()]}
        for ends in np.array(axes)
    ]
    Path("axes.mrk.json").write_text(json.dumps({"markups": lines}))
    return tmp_path


def test_the_commands_of_the_readme_run(readme_files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = ("dicomweb://", "kvasir-seg")  # a PACS (tests/integration) and data sets (tests/data) that are not here
    tried = [words for words in commands(ROOT / "README.md") if not any(e in " ".join(words) for e in elsewhere)]
    assert [words[0] for words in tried] == [
        "segment",
        "info",
        "view",
        "segment",
        "annotate",
        "measure",
        "convert",
        "doctor",
    ]
    for words in tried:
        assert run(words) == 0, (words, capsys.readouterr().err)
    for name in ("mask.nii.gz", "look.png", "masks/a.png", "masks/b.png", "tumor.dcm", "tumor.seg.nrrd"):
        assert (readme_files / name).exists(), name
    assert medsam.read_mask("mask.nii.gz").labels[40, 302, 142] == 1
    assert medsam.read_mask("tumor.seg.nrrd").labels[:, 32, 30].all()


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
