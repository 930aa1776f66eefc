"""A compiled run asks for its compiler first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import CONFIG, train

from medsam.errors import MissingDependencyError


def test_compiling_without_a_compiler_is_refused(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(MissingDependencyError, match=r"there is no (g|clang)\+\+"):
        train(discs, tmp_path / "run", replace(CONFIG, compile=True))
    assert not (tmp_path / "run").exists()
