"""The file of the console's local users: one `NAME:ROLE:HASH` in each line.

The hash is that of argon2id (RFC 9106) in its usual text form. Empty lines and lines that begin with `#` are kept.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.console_model import ROLES, Role
from gateway.system.files import read_file

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}")
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1024  # characters
MAX_FILE = 1024 * 1024
_HASH = re.compile(
    r"\$argon2id\$v=19\$m=[0-9]{1,8},t=[0-9]{1,4},p=[0-9]{1,3}\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{16,512}"
)


@dataclass(frozen=True, slots=True)
class LocalUser:
    """A user of the file."""

    name: str
    role: Role
    password_hash: str = field(repr=False)

    def line(self) -> str:
        """Return the line of the file."""
        return f"{self.name}:{self.role}:{self.password_hash}"


class UnusableUsers(ValueError):
    """A line of the file is not usable; the text names its number, never its content."""


def parse_users(text: str) -> dict[str, LocalUser]:
    """Return the users by name. Raise UnusableUsers for the first line that is wrong or repeats a name."""
    users: dict[str, LocalUser] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user = _parse_line(line)
        if user is None:
            raise UnusableUsers(f"line {number} is not NAME:ROLE:HASH with an argon2id hash")
        if user.name in users:
            raise UnusableUsers(f"line {number} repeats a name")
        users[user.name] = user
    return users


def with_user(text: str, user: LocalUser) -> str:
    """Return the text with this user, in place of the one with the same name or at the end."""
    lines = text.splitlines()
    names = [line.partition(":")[0] for line in lines]
    if user.name in names:
        lines[names.index(user.name)] = user.line()
    else:
        lines.append(user.line())
    return "".join(f"{line}\n" for line in lines)


def without_user(text: str, name: str) -> str:
    """Return the text without this user."""
    return "".join(f"{line}\n" for line in text.splitlines() if line.partition(":")[0] != name)


def normal_password(password: str) -> str:
    """Return the form in which a password is hashed: keyboards differ in how they compose letters."""
    return unicodedata.normalize("NFC", password)


def read_users(path: Path) -> dict[str, LocalUser]:
    """Return the users of a file by name. Raise OSError, and UnusableUsers for a wrong content."""
    content = read_file(path, MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise UnusableUsers("it is larger than 1 MiB")
    try:
        return parse_users(content.decode())
    except UnicodeDecodeError:
        raise UnusableUsers("it is not UTF-8 text") from None


def _parse_line(line: str) -> LocalUser | None:
    name, _, rest = line.partition(":")
    role, _, password_hash = rest.partition(":")
    known = next((each for each in ROLES if each == role), None)
    if known is None or not USER_NAME.fullmatch(name) or not _HASH.fullmatch(password_hash):
        return None
    return LocalUser(name, known, password_hash)
