"""Secrets: what a reference points to, read anew each time it is needed, so that a changed secret needs no restart.

No message here ever holds a secret; each names the reference.
"""

import base64
import contextlib
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pydantic import SecretStr

from gateway.config.part import Part, SecretRef

MAX_BYTES = 64 * 1024
_FILE_KEYS = frozenset(("file", "cert", "key", "ca"))  # of the model, where their value is a path
_URL_SAFE = str.maketrans("-_", "+/")


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


def sealing_key(ref: SecretRef, *, environ: Mapping[str, str], base: Path = Path()) -> bytes:
    """The 32 bytes of a key that entries of the store are encrypted with, written in base64 or hex.

    Raises SecretProblem as `read` does, and for a secret that is no such key.
    """
    text = read(ref, environ=environ, base=base).get_secret_value().strip()
    with contextlib.suppress(ValueError):
        if len(text) == 64:
            return bytes.fromhex(text)
        # Both alphabets (RFC 4648 §4, §5), padded or not.
        key = base64.b64decode(text.translate(_URL_SAFE).rstrip("=") + "=", validate=True)
        if len(key) == 32:
            return key
    what = f"the secret of `{ref.file or ref.env}` is not a key of 32 bytes in base64 or hex"
    raise SecretProblem(what, "make one by `openssl rand -base64 32`")


def fingerprint(part: Part, *, base: Path = Path()) -> tuple[tuple[int, int, int] | None, ...]:
    """Changes when a file that `part` names changes (a secret, a key, a certificate); looks at no content."""
    return tuple(_look(base / name) for name in _files(part))


def doubt(secret: SecretStr) -> str:
    """Says what is suspicious of a secret without showing it; empty when nothing is."""
    value = secret.get_secret_value()
    if value != value.strip():
        return "has white space at an end"
    if any(letter.isspace() or not letter.isprintable() for letter in value):
        return "has white space or a control character in it"
    return ""


def _files(part: Part) -> Iterator[str]:
    for key, value in part:
        if key in _FILE_KEYS and isinstance(value, str):
            yield value
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Part):
                yield from _files(inner)


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return None
    return seen.st_mtime_ns, seen.st_ino, seen.st_size


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
