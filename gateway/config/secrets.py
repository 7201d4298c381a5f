"""Secrets: what a reference points to, read anew each time it is needed, so that a changed secret needs no restart.

No message here ever holds a secret; each names the reference.
"""

import base64
import contextlib
import os
import stat
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path

from pydantic import SecretStr

from gateway.config.issue import SecretProblem
from gateway.config.model import Oci
from gateway.config.strict_model import SecretRef, StrictModel
from gateway.config.vault import Vault
from gateway.system.files import NotRegular, read_file

MAX_BYTES = 64 * 1024
_FILE_KEYS = frozenset(("file", "cert", "key", "ca"))  # of the model, where their value is a path
_URL_SAFE = str.maketrans("-_", "+/")


class Secrets:
    """Where references lead: to variables of `environ`, to files (relative ones in the folder `base`), to `vault`.

    A secret of the Vault is a call over the network, now and then: whoever may name one is asked in a thread.
    """

    def __init__(self, environ: Mapping[str, str], *, base: Path = Path(), vault: Vault | None = None) -> None:
        self._environ = environ
        self._base = base
        self._vault = vault or Vault(Oci())

    def read(self, ref: SecretRef) -> SecretStr:
        """The secret that `ref` names; one newline (LF or CRLF) at the end of a file or of the Vault's is left off.

        Raises SecretProblem for a variable that is not set or empty; for a file that is missing, unreadable, empty, no
        regular file, over 64 KiB or not UTF-8; for a secret that the Vault does not give, empty or not UTF-8.
        """
        if ref.env is not None:
            return _from_variable(ref.env, self._environ)
        if ref.oci_vault is not None:
            return _text(self._vault.read(ref.oci_vault), f"the secret `{ref.oci_vault}` of OCI Vault")
        path = self._base / (ref.file or "")
        return _text(_bytes_of(path), f"the secret file `{path}`")

    def reader(self, ref: SecretRef) -> Callable[[], str]:
        """A function that reads the secret at each call, as `read` does; it raises SecretProblem."""
        return lambda: self.read(ref).get_secret_value()

    def sealing_key(self, ref: SecretRef) -> bytes:
        """The 32 bytes of a key that entries of the store are encrypted with, written in base64 or hex.

        Raises SecretProblem as `read` does, and for a secret that is no such key.
        """
        text = self.read(ref).get_secret_value().strip()
        with contextlib.suppress(ValueError):
            if len(text) == 64:
                return bytes.fromhex(text)
            # Both alphabets (RFC 4648 §4, §5), padded or not.
            key = base64.b64decode(text.translate(_URL_SAFE).rstrip("=") + "=", validate=True)
            if len(key) == 32:
                return key
        what = f"the secret of `{ref.target}` is not a key of 32 bytes in base64 or hex"
        raise SecretProblem(what, "make one by `openssl rand -base64 32`")

    def fingerprint(self, part: StrictModel) -> tuple[Hashable, ...]:
        """Changes when a file that `part` names changes (a secret, a key, a certificate), or a secret of the Vault gets
        another version; looks at no content.
        """
        files = [_look(self._base / name) for name in _files(part)]
        return *files, *(self._vault.version(ocid) for ocid in _ocids(part))

    def expire(self, part: StrictModel) -> None:
        """Has all that `part` names read again when it is next asked for: files always are, copies of the Vault's
        secrets too unless they are but seconds old. Asks nobody.
        """
        for ocid in _ocids(part):
            self._vault.expire(ocid)


def suspicious(secret: SecretStr) -> str:
    """Says what is suspicious of a secret without showing it; empty when nothing is."""
    value = secret.get_secret_value()
    if value != value.strip():
        return "has white space at an end"
    if any(letter.isspace() or not letter.isprintable() for letter in value):
        return "has white space or a control character in it"
    return ""


def exposure(path: Path) -> str:
    """Says that every user of this machine may open the file. Empty when not, and when its mode cannot be changed:
    secrets are mounted read-only into a container, and for all users in it.
    """
    try:
        is_open = stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO
        is_fixed = os.statvfs(path).f_flag & os.ST_RDONLY
    except (OSError, ValueError):
        return ""
    return "can be read by every user of this machine" if is_open and not is_fixed else ""


def _parts(part: StrictModel) -> Iterator[StrictModel]:
    """It, and all within it."""
    yield part
    for _, value in part:
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, StrictModel):
                yield from _parts(inner)


def _files(part: StrictModel) -> Iterator[str]:
    for inner in _parts(part):
        yield from (value for key, value in inner if key in _FILE_KEYS and isinstance(value, str))


def _ocids(part: StrictModel) -> Iterator[str]:
    for inner in _parts(part):
        if isinstance(inner, SecretRef) and inner.oci_vault is not None:
            yield inner.oci_vault


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


def _text(content: bytes, name: str) -> SecretStr:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise SecretProblem(f"{name} is not UTF-8 text", "write the secret as UTF-8") from None
    value = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not value.strip():
        raise SecretProblem(f"{name} is empty", "write the secret into it")
    return SecretStr(value)


def _bytes_of(path: Path) -> bytes:
    try:
        content = read_file(path, MAX_BYTES + 1)
    except NotRegular:
        raise SecretProblem(
            f"the secret file `{path}` is not a regular file", "name a file that holds the secret"
        ) from None
    except FileNotFoundError:
        raise SecretProblem(f"the secret file `{path}` is missing", "make it, or mend the path") from None
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise SecretProblem(f"the secret file `{path}` cannot be read ({reason})", "mend its rights") from None
    if len(content) > MAX_BYTES:
        raise SecretProblem(f"the secret file `{path}` is larger than 64 KiB", "write only the secret into it")
    return content
