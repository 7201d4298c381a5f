"""Secrets: what a reference points to, read anew each time it is needed, so that a changed secret needs no restart.

No message here ever holds a secret; each names the reference.
"""

import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from gateway.config.model import SecretRef

MAX_BYTES = 64 * 1024


class SecretProblem(OSError):
    """A reference leads to no usable secret; `what` names the reference, `remedy` says how to mend it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


def read(ref: SecretRef, *, environ: Mapping[str, str], base: Path = Path()) -> SecretStr:
    """The secret that `ref` names; a relative file is looked for in the folder `base`.

    One newline (LF or CRLF) at the end of a file is left off. Raises SecretProblem for a variable that is not set or
    empty, and for a file that is missing, unreadable, empty, no regular file, over 64 KiB or not UTF-8.
    """
    if ref.env is not None:
        return _from_variable(ref.env, environ)
    return _from_file(base / (ref.file or ""))


def reader(ref: SecretRef, *, environ: Mapping[str, str], base: Path = Path()) -> Callable[[], str]:
    """A function that reads the secret at each call, as `read` does; it raises SecretProblem."""
    return lambda: read(ref, environ=environ, base=base).get_secret_value()


def doubt(secret: SecretStr) -> str:
    """Says what is suspicious of a secret without showing it; empty when nothing is."""
    value = secret.get_secret_value()
    if value != value.strip():
        return "has white space at an end"
    if any(letter.isspace() or not letter.isprintable() for letter in value):
        return "has white space or a control character in it"
    return ""


def _from_variable(name: str, environ: Mapping[str, str]) -> SecretStr:
    value = environ.get(name)
    if value is None:
        raise SecretProblem(f"the environment variable `{name}` is not set", "set it to the secret")
    if not value.strip():
        raise SecretProblem(f"the environment variable `{name}` is empty", "set it to the secret")
    return SecretStr(value)


def _from_file(path: Path) -> SecretStr:
    try:
        text = _bytes_of(path).decode()
    except UnicodeDecodeError:
        raise SecretProblem(f"the secret file `{path}` is not UTF-8 text", "write the secret as UTF-8") from None
    value = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not value.strip():
        raise SecretProblem(f"the secret file `{path}` is empty", "write the secret into it")
    return SecretStr(value)


def _bytes_of(path: Path) -> bytes:
    try:
        content = _regular(path)
    except FileNotFoundError:
        raise SecretProblem(f"the secret file `{path}` is missing", "make it, or mend the path") from None
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise SecretProblem(f"the secret file `{path}` cannot be read ({reason})", "mend its rights") from None
    if content is None:
        raise SecretProblem(f"the secret file `{path}` is not a regular file", "name a file that holds the secret")
    if len(content) > MAX_BYTES:
        raise SecretProblem(f"the secret file `{path}` is larger than 64 KiB", "write only the secret into it")
    return content


def _regular(path: Path) -> bytes | None:
    # A pipe gives its bytes once only, and would block the caller when it is empty.
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
