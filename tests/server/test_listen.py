"""Where the server listens, and which tokens open it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import DataError
from medsam.server.listen import choose_tokens
from medsam.server.tokens import TokenHolder, default_token_file, hash_token, new_token


def test_loopback_gets_a_token_of_its_own_each_time() -> None:
    hashed, file, token = choose_tokens("127.0.0.1", None)
    assert token is not None and file is None and hashed == {hash_token(token): TokenHolder("local", "admin")}
    assert choose_tokens("127.0.0.1", None)[2] != token


def test_another_host_needs_a_token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    with pytest.raises(DataError, match="--token-file"):
        choose_tokens("0.0.0.0", None)
    file = tmp_path / "tokens"
    file.write_text("ana a-long-enough-token-000000\n")
    file.chmod(0o600)
    assert choose_tokens("0.0.0.0", file) == (
        {hash_token("a-long-enough-token-000000"): TokenHolder("ana")}, file, None,
    )  # fmt: skip
    file.write_text("# nobody\n")
    with pytest.raises(DataError, match="is empty"):
        choose_tokens("0.0.0.0", file)
    new_token(default_token_file(), "bob", "read")
    hashed, followed, shown = choose_tokens("0.0.0.0", None)
    assert list(hashed.values()) == [TokenHolder("bob", "read")] and followed == default_token_file() and shown is None
