"""What is wrong with a configuration, as values: a finding names the place by steps, a problem by file and line too.

Nothing here shows a value of the file; of its keys only those that cannot be a secret gone astray.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
Steps = tuple[str | int, ...]

SECRET_KEYS = frozenset({"client_secret", "password", "key_password", "private_key", "refresh_token"})
REFERENCES = ("file", "env", "oci_vault")
"""The kinds of reference to a secret."""
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.$-]{1,64}")


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """Something wrong at `steps`, as `("routes", 2, "upstream")`; `line` only where it is not that of the steps."""

    steps: Steps
    what: str
    remedy: str
    severity: Severity = "error"
    line: int = 0


@dataclass(frozen=True, slots=True)
class LocatedIssue:
    """One thing wrong, ready to print; `line` counts from 1, `file` is empty and `line` 0 for command line flags."""

    file: str
    line: int
    path: str
    what: str
    remedy: str
    severity: Severity = "error"

    @property
    def location(self) -> str:
        """File and line, then the path of keys, as far as they are known."""
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (place, self.path) if part)

    def __str__(self) -> str:
        kind = "warning" if self.severity == "warning" else ""
        return ": ".join(part for part in (self.location, kind, f"{self.what}; {self.remedy}") if part)


class ConfigProblems(Exception):
    """The configuration cannot be used; `problems` holds every one found, warnings too, in the order of the file."""

    def __init__(self, problems: Sequence[LocatedIssue]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class SecretProblem(OSError):
    """A reference leads to no usable secret; `what` names the reference, `remedy` says how to mend it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


def is_plain(key: str) -> bool:
    """True when the key may be shown: it looks like a key, not like a secret written in the wrong place."""
    return _PLAIN_KEY.fullmatch(key) is not None


def is_secret(steps: Steps) -> bool:
    """True when a secret, or a list of them, should stand at the steps."""
    names = [step for step in steps if isinstance(step, str)]
    return bool(names) and names[-1] in SECRET_KEYS


def dotted(steps: Steps) -> str:
    """The steps in one word, like `routes[2].upstream`; what follows a secret's key is shown only if it is known."""
    path = ""
    for index, step in enumerate(steps):
        if isinstance(step, int):
            path += f"[{step}]"
        elif is_secret(steps[:index]) and step not in REFERENCES:
            break
        else:
            path += f".{step if is_plain(step) else '?'}"
    return path.removeprefix(".")
