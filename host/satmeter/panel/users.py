"""Who may use the pages by a password: a file with a line each, readable by its owner only.

A line is `NAME ROLE HASH`; one with a hash alone is the owner's who has no name. Passwords are kept hashed (argon2)."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ..core.errors import BadParam
from .roles import Role

LEAST = 8
NOBODYS = PasswordHasher().hash("")
"""Looked at for an unknown name, so that the answer takes as long as for a known one."""


@dataclass(frozen=True, slots=True)
class User:
    """Who has logged in; of one who came by OpenID Connect, or without a password, `hashed` is "" ."""

    name: str = ""
    role: Role = Role.OWNER
    hashed: str = ""

    def is_right(self, password: str) -> bool:
        """Returns whether it is their password; takes about 50 ms on purpose."""
        try:
            return PasswordHasher().verify(self.hashed, password)
        except (VerificationError, InvalidHashError):
            return False


NOBODY = User(hashed=NOBODYS)


def load(path: Path) -> dict[str, User]:
    """Return the users of a file by name; BadParam where others may read it, and for a line that is none."""
    if path.stat().st_mode & 0o077:
        raise BadParam(f"{path}: must be readable by its owner only (chmod 600)", param="password")
    return _read(path)


def set_password(path: Path, password: str, name: str = "", role: Role = Role.OWNER) -> None:
    """Write a user's password and role into the file (mode 0600). BadParam for a name or password that is none."""
    if len(password) < LEAST:
        raise BadParam(f"password: must have at least {LEAST} characters", param="password")
    if name and not re.fullmatch(r"[^\s]{1,64}", name):
        raise BadParam(f"user: must be 1 to 64 characters without a space, got {name!r}", param="user")
    if not name and role is not Role.OWNER:
        raise BadParam(f"role: who has no name is the owner; --user NAME gives {role} a name", param="role")
    users = _read(path) if path.exists() else {}
    _write(path, {**users, name: User(name, role, PasswordHasher().hash(password))})


def remove(path: Path, name: str) -> None:
    """Remove a user from the file; BadParam for a name that it does not have."""
    users = _read(path) if path.exists() else {}
    if users.pop(name, None) is None:
        raise BadParam(f"user: {path} has no {name!r}; it has {', '.join(sorted(users)) or 'none'}", param="user")
    _write(path, users)


def _read(path: Path) -> dict[str, User]:
    users: dict[str, User] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if len(words) not in (0, 1, 3):
            raise BadParam(f"{path}, line {number}: must be a hash, or NAME ROLE HASH", param="password")
        if words:
            name, role, hashed = ("", Role.OWNER, words[0]) if len(words) == 1 else words
            users[name] = User(name, Role.parse(role), hashed)
    return users


def _write(path: Path, users: dict[str, User]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        for user in users.values():
            out.write(f"{user.name} {user.role} {user.hashed}\n" if user.name else f"{user.hashed}\n")
    fresh.replace(path)
