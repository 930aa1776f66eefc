"""What a server has without being told."""

from __future__ import annotations

from pathlib import Path

from medsam.server.settings import ServerSettings


def test_without_tokens_and_hosts_only_loopback_is_named_and_nobody_let_in(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path, {})
    assert "127.0.0.1" in settings.hosts and "0.0.0.0" not in settings.hosts and not settings.tokens
    assert settings.max_json_bytes < settings.max_upload_bytes
