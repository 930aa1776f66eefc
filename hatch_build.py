"""Builds the page into the wheel and the sdist; an editable install leaves it to `make page`, so that it needs no node."""

from __future__ import annotations

import runpy
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuildHook(BuildHookInterface):
    """Makes src/medsam/server/static where a source tree does not hold it yet."""

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        """Build the page unless it is there or the install is an editable one."""
        del build_data
        root = Path(self.root)
        if version != "editable" and not (root / "src/medsam/server/static/index.html").exists():
            runpy.run_path(str(root / "web/build.py"))["build_page"](root / "web")
