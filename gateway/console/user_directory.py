"""Local users: reads their file when it changes, and verifies passwords."""

import asyncio
import logging
import os
from functools import cache, partial
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from gateway.config.console_users import LONGEST_PASSWORD, LocalUser, normal_password, read_users
from gateway.observe.episodes import EventDeduplicator
from gateway.observe.log import log_event
from gateway.system.files import in_thread

_log = logging.getLogger(__name__)

SIMULTANEOUS = 2
"""Passwords that are verified at once: each takes 64 MiB and all of a CPU for a moment."""


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password with a new salt and the parameters of RFC 9106 §4 for little memory."""
    return PasswordHasher().hash(normal_password(password))


@cache
def _dummy_hash() -> str:
    return hash_password(os.urandom(16).hex())


class UserDirectory:
    """The users of a file; none if it is missing. While it cannot be read or has an error, they are those of before."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._state: tuple[int, int, int] | None = None
        self._users: dict[str, LocalUser] = {}
        self._verifying = asyncio.Semaphore(SIMULTANEOUS)
        self._episodes = EventDeduplicator(asyncio.get_running_loop().time)

    async def find(self, name: str) -> LocalUser | None:
        """Return the user of that name, as the file is now."""
        try:
            await in_thread(self._refresh, owner=self)
        except (OSError, ValueError) as cause:
            if self._episodes.starts_episode("users"):
                message = f"cannot read the users of the console in {self._path}: {_reason(cause)}"
                remedy = "correct the file; until then its former users stay, and a missing file has none"
                log_event(_log, logging.ERROR, "console-users-unreadable", f"{message}; {remedy}")
        return self._users.get(name)

    async def authenticate(self, name: str, password: str) -> LocalUser | None:
        """Return the user with this name and password, else None. Both kinds of failure take the same time."""
        user = await self.find(name)
        async with self._verifying:
            dummy = await in_thread(_dummy_hash, owner=self)  # made once, before a first login of either kind
            stored = dummy if user is None else user.password_hash
            is_right = await in_thread(partial(_is_password, stored, password), owner=self)
        return user if is_right else None

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._users, self._state = {}, None
            raise
        state = status.st_mtime_ns, status.st_ino, status.st_size
        if state != self._state:
            self._users = read_users(self._path)
            self._state = state


def _is_password(stored: str, password: str) -> bool:
    try:
        return PasswordHasher().verify(stored, normal_password(password[:LONGEST_PASSWORD]))
    except Argon2Error:
        return False


def _reason(cause: Exception) -> str:
    return cause.strerror or "" if isinstance(cause, OSError) else str(cause)
