"""Who may use the pages by a password: a file with a line each, readable by its owner only.

A line is `NAME ROLE HASH`; one with a hash alone is the owner's who has no name. Passwords are kept hashed (argon2)."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ..core.errors import BadParam
from ..files import check_private, write_whole
from .roles import Role

LEAST = 8
NOBODYS = PasswordHasher().hash("")
"""Looked at for an unknown name, so that the answer takes as long as for a known one."""


@dataclass(frozen=True, slots=True)
class User:
    """Who has logged in; of one who came by OpenID Connect, or without a password, `hashed` is empty."""

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
    check_private(path, "password")
    return _read(path)


def set_password(path: Path, password: str, name: str = "", role: Role | None = None) -> User:
    """Write a user's password and role into the file (mode 0600).

    Args:
        path: The file.
        password: The new password.
        name: Whose; "" is the owner's who has no name.
        role: None: as it was. A new user with a name needs one.

    Returns:
        The user.

    Raises:
        BadParam: A name or password that is none, or no role.
    """
    if len(password) < LEAST or not _sound(password):
        raise BadParam(f"password: must have at least {LEAST} characters", param="password")
    if name and not (re.fullmatch(r"[^\s]{1,64}", name) and name.isprintable()):
        raise BadParam(f"user: must be 1 to 64 characters without a space, got {name!r}", param="user")
    if not name and role not in (None, Role.OWNER):
        raise BadParam(f"role: who has no name is the owner; --user NAME gives {role} a name", param="role")
    with _changing(path) as users:
        role = role or (users[name].role if name in users else None if name else Role.OWNER)
        if role is None:
            raise BadParam(f"role: {name} is new, and needs one: --role {', '.join(Role)}", param="role")
        users[name] = User(name, role, PasswordHasher().hash(password))
        return users[name]


def remove(path: Path, name: str) -> None:
    """Remove a user from the file; BadParam for a name that it does not have."""
    with _changing(path) as users:
        if users.pop(name, None) is None:
            has = ", ".join(sorted(each or "the owner without a name" for each in users)) or "nobody"
            raise BadParam(f"user: {path} has no {name!r}; it has {has}", param="user")


def _sound(text: str) -> bool:
    """Whether a text can be written: a terminal may give halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(path: Path) -> dict[str, User]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadParam(f"{path}: is no text in UTF-8", param="password") from None
    users: dict[str, User] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        name, role, hashed = ("", Role.OWNER, words[0]) if len(words) == 1 else (*words, "", "")[:3]
        if not hashed or len(words) > 3 or role not in list(Role):
            roles = ", ".join(Role)
            said = f"{path}, line {number}: must be a hash, or NAME ROLE HASH; roles are {roles}"
            raise BadParam(said, param="password")
        if name in users:
            raise BadParam(f"{path}, line {number}: {name or 'the owner'} stands there twice", param="password")
        users[name] = User(name, Role(role), hashed)
    return users


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, User]]:
    """Gives the users to be changed, and writes the file at the end: one process after another, and all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        users = _read(path) if path.exists() else {}
        yield users
        rows = (f"{user.name} {user.role} {user.hashed}" if user.name else user.hashed for user in users.values())
        write_whole(path, "".join(f"{row}\n" for row in rows).encode(), private=True)
    finally:
        os.close(folder)
