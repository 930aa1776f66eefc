"""Token files: names, hashes and roles, nobody else may read them, and a running server follows them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from medsam.errors import DataError
from medsam.server.tokens import TokenBook, TokenHolder, hash_token, new_token, read_tokens, revoke_token


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_lines_of_both_kinds_with_and_without_a_role(tmp_path: Path) -> None:
    hashed = hash_token("b" * 16)
    file = written(tmp_path / "t", f"# team\nana {'a' * 16}\n\nbob sha256:{hashed} read\n")
    assert read_tokens(file) == {hash_token("a" * 16): TokenHolder("ana", "admin"), hashed: TokenHolder("bob", "read")}


@pytest.mark.parametrize(
    ("text", "said"),
    [("ana short\n", "line 1"), ("a b c\n", "line 1"), (f"ana {'a' * 16}\nbob {'a' * 16}\n", "line 2"),
     ("../x " + "a" * 16, "line 1"), ("ana sha256:12\n", "line 1"), ("ana\n", "line 1"),
     (f"ana {'a' * 16} root\n", "line 1"), (f"ana {'a' * 16} read x\n", "line 1"), (f"consensus {'a' * 16}\n", "line 1")],
)  # fmt: skip
def test_bad_lines_are_refused_without_showing_the_token(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read_tokens(written(tmp_path / "t", text))
    assert "a" * 16 not in str(caught.value)


def test_a_file_open_to_others_or_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="chmod 600"):
        read_tokens(written(tmp_path / "t", f"ana {'a' * 16}\n", 0o644))
    with pytest.raises(DataError, match="cannot be read"):
        read_tokens(tmp_path / "no")


def test_new_tokens_are_kept_as_hashes_that_only_the_owner_may_read(tmp_path: Path) -> None:
    file = tmp_path / "below" / "tokens"
    old = os.umask(0)
    try:
        token = new_token(file, "ana", "annotate")
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token not in file.read_text() and len(token) >= 32
    other = new_token(file, "bob", "read")
    assert read_tokens(file) == {
        hash_token(token): TokenHolder("ana", "annotate"),
        hash_token(other): TokenHolder("bob", "read"),
    }
    for name in ("ana", "consensus", "a b", "", "../x"):
        with pytest.raises(DataError):
            new_token(file, name, "read")
    assert revoke_token(file, "ana") == 1 and [h.name for h in read_tokens(file).values()] == ["bob"]
    with pytest.raises(DataError, match="no token of 'ana'"):
        revoke_token(file, "ana")


def test_what_is_revoked_or_added_holds_at_once_on_a_running_server(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    ana = new_token(file, "ana", "admin")
    book = TokenBook(read_tokens(file), file)
    assert (
        book.holder(ana) == TokenHolder("ana", "admin") and book.holder("x" * 32) is None and book.holder(None) is None
    )
    bob = new_token(file, "bob", "read")
    assert book.holder(bob) == TokenHolder("bob", "read")
    revoke_token(file, "ana")
    assert book.holder(ana) is None and book.holder(bob) is not None
    file.chmod(0o644)
    file.write_text(file.read_text() + "# touched\n")
    assert book.holder(bob) is None  # a file that others may write lets nobody in
    file.chmod(0o600)
    assert book.holder(bob) is not None
