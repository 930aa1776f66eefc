"""Tokens: who they let in and to do what. A file holds their hashes; a running server follows it as it changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from medsam.annotation.study.agreement import CONSENSUS
from medsam.errors import DataError, MedsamError
from medsam.files.atomic import replacing

Role = Literal["read", "annotate", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may
SHORTEST_TOKEN = 16
DEFAULT_FILE = Path(".config") / "medsam" / "tokens"  # below the user's home
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")
log = logging.getLogger("medsam.server")


@dataclass(frozen=True)
class TokenHolder:
    """Whom a token lets in.

    Args:
        name: Of the annotator, in whose line of states saves go.
        role: "read" looks, "annotate" also draws and adds scans, "admin" also sees metrics and everybody's times.
    """

    name: str
    role: Role = "admin"


def hash_token(token: str) -> str:
    """Hex sha256 of a token: all that a server keeps of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def default_token_file() -> Path:
    """Where tokens lie when no file is named."""
    return Path.home() / DEFAULT_FILE


def read_tokens(path: Path) -> dict[str, TokenHolder]:
    """Read a token file: a line for each token, "NAME sha256:HEX ROLE" or "NAME TOKEN ROLE"; without a role it is admin's.

    Returns:
        Hashed token to holder.

    Raises:
        DataError: it cannot be read, others may read it, or a line is no name, token and role.
    """
    tokens: dict[str, TokenHolder] = {}
    for number, line in enumerate(_lines_of(path), start=1):
        if not line.split() or line.lstrip().startswith("#"):
            continue
        found = _entry(line)
        if found is None or found[0] in tokens:
            raise DataError(
                f"line {number} of the token file {path}",
                expected=f"a name, a token of its own of {SHORTEST_TOKEN} characters or more or sha256:HEX, and "
                f"{', '.join(ROLES)}",
                fix="make one with medsam serve token new NAME",
            )
        tokens[found[0]] = found[1]
    return tokens


def new_token(path: Path, name: str, role: Role) -> str:
    """Make a token and write its hash into a file, which is made if need be.

    Returns:
        The token, which nothing keeps.

    Raises:
        DataError: a name that is none or is taken, or a bad file. OutputError: the file cannot be written.
    """
    if not _NAME.fullmatch(name) or name == CONSENSUS:
        raise DataError(
            f"the name {name!r:.80}", expected="letters, digits, dots, hyphens, 64 at most", fix="choose another"
        )
    known = read_tokens(path) if path.exists() else {}
    if name in {holder.name for holder in known.values()}:
        raise DataError(f"a token of {name}", expected="a new name", fix=f"run medsam serve token revoke {name} first")
    token = secrets.token_urlsafe(24)
    _write(path, [*(_lines_of(path) if path.exists() else []), f"{name} sha256:{hash_token(token)} {role}"])
    return token


def revoke_token(path: Path, name: str) -> int:
    """Take the tokens of a name out of a file; a server that runs on it refuses them from then on.

    Returns:
        How many there were.

    Raises:
        DataError: there is none, or a bad file. OutputError: the file cannot be written.
    """
    lines = _lines_of(path)
    kept = [line for line in lines if (found := _entry(line)) is None or found[1].name != name]
    if len(kept) == len(lines):
        raise DataError(f"no token of {name!r:.80}", expected="a name of the file", fix="see medsam serve token list")
    _write(path, kept)
    return len(lines) - len(kept)


@dataclass(eq=False)
class TokenBook:
    """The tokens of a running server.

    Args:
        tokens: Hashed token to holder.
        file: Where they come from; what is added or revoked there holds at once.
    """

    tokens: Mapping[str, TokenHolder]
    file: Path | None = None
    _read: tuple[int, int] | None = field(default=None, repr=False)

    def holder(self, token: str | None) -> TokenHolder | None:
        """Whom a token lets in; None where nobody."""
        self._follow()
        if not token:
            return None
        hashed, found = hash_token(token), None
        for known, one in self.tokens.items():  # all of them, so that time tells nothing
            found = one if hmac.compare_digest(known, hashed) else found
        return found

    def _follow(self) -> None:
        if self.file is None:
            return
        try:
            status = self.file.stat()
            if (status.st_mtime_ns, status.st_size) == self._read:
                return
            self.tokens, self._read = read_tokens(self.file), (status.st_mtime_ns, status.st_size)
        except (MedsamError, OSError) as error:
            if self.tokens:
                log.warning("the token file cannot be read (%s): nobody is let in", type(error).__name__)
            self.tokens, self._read = {}, None


def _lines_of(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        open_to_others = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    except (OSError, UnicodeDecodeError):
        raise DataError(
            f"the token file {path} cannot be read",
            expected="lines of NAME TOKEN ROLE",
            fix="check the path, or make one with medsam serve token new NAME",
        ) from None
    if open_to_others:
        raise DataError(f"the token file {path} is open to others", expected="mode 600", fix=f"run chmod 600 {path}")
    return lines


def _entry(line: str) -> tuple[str, TokenHolder] | None:
    """The hash and the holder of a line; None where it is none."""
    name, token, role, *more = [*line.split(), "", "", ""][: max(3, len(line.split()))]
    role = role or "admin"
    if more or not _NAME.fullmatch(name) or name == CONSENSUS or role not in ROLES:
        return None
    hashed = _HASH.fullmatch(token)
    if token.startswith("sha256:"):
        return (hashed[1].lower(), TokenHolder(name, role)) if hashed else None
    return (hash_token(token), TokenHolder(name, role)) if len(token) >= SHORTEST_TOKEN else None


def _write(path: Path, lines: list[str]) -> None:
    with replacing(path, what="the token file") as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
