"""Read secrets by reference at each use, so that a changed secret needs no restart.

Messages name the reference and never contain a secret.
"""

import base64
import contextlib
import os
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from gateway.config.issue import FILE_KEYS, SERVER_REFERENCES, SecretProblem
from gateway.config.secret_cache import SecretCache
from gateway.config.strict_model import SecretRef, StrictModel
from gateway.system.confined_files import LeavesFolder
from gateway.system.confined_path import join_folder
from gateway.system.files import NotRegular, file_state, file_status, read_file

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Names the folder of the credentials that systemd passes (systemd.exec(5), LoadCredential=)."""
MAX_BYTES = 64 * 1024
_URL_SAFE = str.maketrans("-_", "+/")


class SecretReader:
    """Secrets by reference: variables of `environ`, files (relative to the folder `base`), credentials of systemd and
    secrets of servers, which `stores` has by the kind of reference.

    Reading a secret of a server may block on the network: call `read` in a thread.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        base: Path = Path(),
        stores: Mapping[str, SecretCache[Any]] = MappingProxyType({}),
    ) -> None:
        self._environ = environ
        self._base = base
        self._stores = stores

    def read(self, ref: SecretRef) -> SecretStr:
        """Return the secret that `ref` names, without one newline (LF or CRLF) at the end of a file or a secret of OCI
        Vault.

        Raise SecretProblem for a variable that is not set or empty; for a file that is missing, unreadable, empty, not
        regular, over 64 KiB or not UTF-8; for a secret of a server that is not available, empty or not UTF-8.
        """
        if ref.env is not None:
            return _read_variable(ref.env, self._environ)
        if ref.credential is not None:
            credential_file = self._credential_file(ref.credential)
            return _decode_secret(_read_secret_file(credential_file), f"the credential file `{credential_file}`")
        if ref.kind in SERVER_REFERENCES:
            return self._read_from_server(ref)
        path = join_folder(self._base, ref.file or "")
        return _decode_secret(_read_secret_file(path), f"the secret file `{path}`")

    def _read_from_server(self, ref: SecretRef) -> SecretStr:
        store, key = self._stores.get(ref.kind), getattr(ref, ref.kind)
        if store is None:
            raise SecretProblem(f"`{ref.target}` is on a server that cannot be read here", "write {file: /path}")
        content = store.read(key)
        if ref.vault is not None:  # a string of JSON has no newline that an editor has added
            return SecretStr(content.decode())
        return _decode_secret(content, store.describe(key))

    def _credential_file(self, name: str) -> Path:
        """Return the file of a credential that systemd passes. Raise SecretProblem if it passes none."""
        path = Path(self._environ.get(CREDENTIALS_VARIABLE, ""), name)
        if CREDENTIALS_VARIABLE in self._environ and _is_present(path):
            return path
        where = f"`{path}`" if CREDENTIALS_VARIABLE in self._environ else f"the variable `{CREDENTIALS_VARIABLE}`"
        remedy = f"write LoadCredential={name}:/path in the unit, and restart it"
        raise SecretProblem(f"systemd does not pass the credential `{name}`: {where} is missing", remedy)

    def reader(self, ref: SecretRef) -> Callable[[], str]:
        """Return a function that reads the secret at each call. The function raises SecretProblem like `read`."""
        return lambda: self.read(ref).get_secret_value()

    def sealing_key(self, ref: SecretRef) -> bytes:
        """Return the 32-byte encryption key of the token store, decoded from base64 or hex.

        Raise SecretProblem like `read`, and for a secret that is not such a key.
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
        raise SecretProblem(what, "create one with `openssl rand -base64 32`")

    def fingerprint(self, settings: StrictModel) -> tuple[Hashable, ...]:
        """Return a value that changes when a file that `settings` names (a secret, a key, a certificate) changes, or a
        secret of a server has a new version. The content of files is not read.
        """
        files = [file_state(join_folder(self._base, name)) for name in _referenced_files(settings)]
        folder = self._environ.get(CREDENTIALS_VARIABLE, "")
        files += [file_state(Path(folder, name)) for name in _referenced_credentials(settings)]
        return *files, *(store.version(key) for store, key in self._stored(settings))

    def changed_at(self, secrets: Iterable[Sequence[SecretRef]]) -> float | None:
        """Return when the oldest of the secrets was written to its file or server, in epoch seconds; None if that is
        unknown of all. Each secret is given by its references; the one that was written last counts.
        """
        newest = (max(filter(None, map(self._written_at, refs)), default=None) for refs in secrets)
        return min((time for time in newest if time is not None), default=None)

    def _written_at(self, ref: SecretRef) -> float | None:
        if (store := self._stores.get(ref.kind)) is not None:
            return store.written_at(getattr(ref, ref.kind))
        folder = Path(self._environ.get(CREDENTIALS_VARIABLE, "")) if ref.credential is not None else self._base
        name = ref.file or ref.credential
        state = file_state(join_folder(folder, name)) if name is not None else None
        return None if state is None else state[0] / 1e9

    def expire(self, settings: StrictModel) -> None:
        """Expire the cached secrets of servers that `settings` names, except copies that are only seconds old. Do no
        I/O.
        """
        for store, key in self._stored(settings):
            store.expire(key)

    def _stored(self, settings: StrictModel) -> Iterator[tuple[SecretCache[Any], Hashable]]:
        """Yield the store and the key of each secret of a server."""
        for inner in _nested_settings(settings):
            if isinstance(inner, SecretRef) and (store := self._stores.get(inner.kind)) is not None:
                yield store, getattr(inner, inner.kind)


def suspicious(secret: SecretStr) -> str:
    """Return what is suspicious about a secret, without showing it; empty if nothing is."""
    value = secret.get_secret_value()
    if value != value.strip():
        return "has white space at an end"
    if any(letter.isspace() or not letter.isprintable() for letter in value):
        return "has white space or a control character in it"
    return ""


def exposure(path: str | Path) -> str:
    """Return a message if every user of this machine may open the file, else an empty string.

    A file on a read-only volume is not reported: containers mount secrets this way, readable for all users.
    """
    try:
        is_open = stat.S_IMODE(file_status(path).st_mode) & stat.S_IRWXO
        is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    except (OSError, ValueError):
        return ""
    return "can be read by every user of this machine" if is_open and not is_read_only else ""


def _nested_settings(settings: StrictModel) -> Iterator[StrictModel]:
    """Yield the settings and all nested settings."""
    yield settings
    for _, value in settings:
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, StrictModel):
                yield from _nested_settings(inner)


def _referenced_files(settings: StrictModel) -> Iterator[str]:
    for inner in _nested_settings(settings):
        yield from (value for key, value in inner if key in FILE_KEYS and isinstance(value, str))


def _referenced_credentials(settings: StrictModel) -> Iterator[str]:
    for inner in _nested_settings(settings):
        if isinstance(inner, SecretRef) and inner.credential is not None:
            yield inner.credential


def _read_variable(name: str, environ: Mapping[str, str]) -> SecretStr:
    value = environ.get(name)
    if value is None:
        raise SecretProblem(f"the environment variable `{name}` is not set", "set it to the secret")
    if not value.strip():
        raise SecretProblem(f"the environment variable `{name}` is empty", "set it to the secret")
    return SecretStr(value)


def _decode_secret(content: bytes, name: str) -> SecretStr:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise SecretProblem(f"{name} is not UTF-8 text", "write the secret as UTF-8") from None
    value = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not value.strip():
        raise SecretProblem(f"{name} is empty", "write the secret into it")
    return SecretStr(value)


def _is_present(path: Path) -> bool:
    """Return whether a file exists, also one in a folder that cannot be entered: reading it reports the reason."""
    try:
        return path.exists()
    except OSError:
        return True


def _read_secret_file(path: str | Path) -> bytes:
    try:
        content = read_file(path, MAX_BYTES + 1)
    except NotRegular:
        raise SecretProblem(
            f"the secret file `{path}` is not a regular file", "name a file that holds the secret"
        ) from None
    except LeavesFolder as cause:
        raise SecretProblem(f"the secret file {cause.what}", cause.remedy) from None
    except FileNotFoundError:
        raise SecretProblem(f"the secret file `{path}` is missing", "create it, or correct the path") from None
    except OSError as cause:
        reason = cause.strerror or type(cause).__name__
        raise SecretProblem(f"the secret file `{path}` cannot be read ({reason})", "correct its permissions") from None
    if len(content) > MAX_BYTES:
        raise SecretProblem(f"the secret file `{path}` is larger than 64 KiB", "write only the secret into it")
    return content
