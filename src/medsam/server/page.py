"""The page's files: hashed names are kept by browsers for ever, the rest is asked for anew."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parent / "static"  # what make page builds; a checkout may be without it
FOREVER = "private, max-age=31536000, immutable"


class PageFiles(StaticFiles):
    """The files of the page.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path = PAGE) -> None:
        super().__init__(directory=folder, html=True)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file, with how long it may be kept."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = FOREVER if Path(full_path).parent.name == "assets" else "no-cache"
        return response
