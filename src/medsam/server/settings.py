"""What a server is started with; everything else has one fixed value beside its use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medsam.server.tokens import TokenHolder, hash_token

__all__ = ["ANNOTATOR", "LOOPBACK", "ServerSettings", "hash_token"]
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ANNOTATOR = "local"  # who saves where one token opens the server


@dataclass(frozen=True)
class ServerSettings:
    """How one server behaves.

    Args:
        folder: Where uploads and embeddings lie; the project's own folder for SQLite.
        tokens: Hashed token to whom it lets in; without any, nothing but /healthz answers.
        token_file: Where they come from; followed as it changes.
        hosts: Names under which the server may be asked; another Host is refused, which stops DNS rebinding.
        cache: Folder of embeddings; those of the command may be shared.
        modality: Of uploaded scans that do not say.
        window: Of uploaded CT scans that carry none.
        max_json_bytes: Largest body of JSON.
        max_upload_bytes: Largest other body.
        pacs: Address of the archive whose series become cases and which results go to; may hold user and password.
        read_memory_bytes: What the process that first reads an upload may take.
        read_seconds: How long it may take.
        max_waiting: Prompts and jobs that may wait for the model; more are answered with 429.
        ahead_seconds: How long nothing must be asked before slices around the current one are embedded.
        max_sessions: Scans of viewers outside the project that are held at once.
        idle_seconds: After which such a scan, or an open scan of the project that nobody asks for, is let go.
        stall_seconds: How long a client may send or take nothing in the middle of a request.
        live_seconds: After which the session of a viewer that says nothing more is ended.
        max_array_bytes: Of voxels that a viewer sends, unpacked.
        max_tile_bytes: Largest body of JSON that holds a tile of a slide.
    """

    folder: Path
    tokens: Mapping[str, TokenHolder]
    token_file: Path | None = None
    hosts: frozenset[str] = LOOPBACK
    cache: Path | None = None
    modality: str | None = None
    window: str | None = None
    pacs: str | None = field(default=None, repr=False)
    max_json_bytes: int = 8 << 20
    max_upload_bytes: int = 2 << 30
    read_memory_bytes: int = 8 << 30
    read_seconds: float = 120.0
    max_waiting: int = 256
    ahead_seconds: float = 1.5
    max_sessions: int = 8
    idle_seconds: float = 600.0
    stall_seconds: float = 30.0
    live_seconds: float = 60.0
    max_array_bytes: int = 1 << 30
    max_tile_bytes: int = 64 << 20
