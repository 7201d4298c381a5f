"""Configuration problems as values: `ConfigIssue` names the key by steps, `LocatedIssue` by file, line and path. Pure.

No message shows a value of the file. A key is shown only if it cannot be a misplaced secret.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]
Steps = tuple[str | int, ...]

SECRET_KEYS = frozenset(
    "api_key client_secret jwt key_password password private_key refresh_token secret_id token".split()
)
FILE_KEYS = frozenset(("file", "cert", "key", "ca", "client_ca"))
"""Keys of the model whose value is a path."""
REFERENCES = ("file", "env", "credential", "oci_vault", "vault")
"""The kinds of reference to a secret."""
SERVER_REFERENCES = frozenset(("oci_vault", "vault"))
"""Those whose secret is on a server."""
_NAMED = ("credentials", "callers", "services")
_ROUTES = ("routes", "defaults")
_FREE_KEYS = frozenset(
    [("credentials", "*", "params"), *((part, kind, "set") for part in _ROUTES for kind in ("headers", "query"))]
)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.$-]{1,64}")


# Tuples, because every command imports this module: msgspec takes a fifth of the time of `--version`.
class ConfigIssue(NamedTuple):
    """A problem at `steps`, such as `("routes", 2, "upstream")`. `line` is 0 if it is the line of the steps.

    A problem between two places has the steps of the `other` one, and `{other}` in its text stands for that place.
    """

    steps: Steps
    what: str
    remedy: str
    severity: Severity = "error"
    line: int = 0
    other: Steps = ()


class LocatedIssue(NamedTuple):
    """One problem, ready to print. `line` counts from 1; for command line flags `file` is empty and `line` is 0.
    `owner` is the team that owns the file, if one is named.
    """

    file: str
    line: int
    path: str
    what: str
    remedy: str
    severity: Severity = "error"
    owner: str = ""

    @property
    def location(self) -> str:
        """Return the file, the line and the path of keys, as far as they are known."""
        file_and_line = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (file_and_line, self.path) if part)

    def __str__(self) -> str:
        label = "warning" if self.severity == "warning" else ""
        owner = f" (owner: {self.owner})" if self.owner else ""
        return ": ".join(part for part in (self.location, label, f"{self.what}; {self.remedy}{owner}") if part)


class ConfigProblems(Exception):
    """The configuration cannot be used. `problems` contains all errors and warnings, in the order of the file."""

    def __init__(self, problems: Sequence[LocatedIssue]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class SecretProblem(OSError):
    """A reference does not lead to a usable secret. `what` names the reference, `remedy` is what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


class StoreFailure(Exception):
    """A server does not give a secret. `reason` follows the secret's name in a message.

    `is_transient` means that the server itself failed, `is_shared` that its other secrets cannot be read either.
    """

    def __init__(self, reason: str, remedy: str, *, is_transient: bool = False, is_shared: bool | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.is_transient = is_transient
        self.is_shared = is_transient if is_shared is None else is_shared

    def copy(self) -> "StoreFailure":
        """Return an equal exception without a traceback."""
        return StoreFailure(self.reason, self.remedy, is_transient=self.is_transient, is_shared=self.is_shared)


def is_plain(key: str) -> bool:
    """Return True if the key may be shown: it looks like a key, not like a misplaced secret."""
    return _PLAIN_KEY.fullmatch(key) is not None


def keys_of(steps: Steps) -> tuple[str, ...]:
    """Return the keys of the model in the steps, without numbers. `*` stands for a name that the user has chosen, such
    as that of a credential: a name can be equal to any key.
    """
    keys = tuple(step for step in steps if isinstance(step, str))
    return (keys[0], "*", *keys[2:]) if len(keys) > 1 and keys[0] in _NAMED else keys


def is_secret(steps: Steps) -> bool:
    """Return True if the value at the steps is a secret or a list of secrets."""
    keys = keys_of(steps)
    return bool(keys) and (
        keys[-1] in SECRET_KEYS or keys[:-1] == ("telemetry", "headers") or keys[-2:] == ("notify", "url")
    )


def has_free_keys(steps: Steps) -> bool:
    """Return True if the keys of the mapping at the steps are chosen by the user, such as names of header fields."""
    return keys_of(steps) in _FREE_KEYS


def dotted_path(steps: Steps) -> str:
    """Return the steps as a path, such as `routes[2].upstream`. Below the key of a secret, show only known keys."""
    path = ""
    for index, step in enumerate(steps):
        if isinstance(step, int):
            path += f"[{step}]"
        elif is_secret(steps[:index]) and step not in REFERENCES:
            break
        else:
            path += f".{step if is_plain(step) else '?'}"
    return path.removeprefix(".")
