"""Read or write the secret file of `init`, and write the configuration after the loader has accepted it."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from gateway.config.corrections.client_secret import secret_file
from gateway.config.corrections.pasted_text import InvalidInput
from gateway.config.issue import ConfigProblems, LocatedIssue, SecretProblem
from gateway.config.load import Loaded, load
from gateway.config.secrets import SecretReader, exposure, suspicious
from gateway.config.strict_model import SecretRef

CONFIG_MODE = 0o644
"""The configuration contains no secret, and the user of the gateway must be able to read it."""
SECRET_MODE = 0o600

# The flag for the last key in the path of a problem.
_FLAGS = {
    "listen": "--listen",
    "admin": "--admin",
    "allow": "--allow",
    "token_url": "--domain-url",
    "client_id": "--client-id",
    "client_secret": "--secret-file",
    "scope": "--scope",
    "upstream": "--url",
    "name": "--name",
    "path": "--path",
}
_MISSING = "the file does not exist; before `serve`, write the secret to it, readable by the gateway's user only"
# Errors of `os.link` on file systems without hard links.
_NO_LINKS = frozenset((errno.EPERM, errno.ENOTSUP, errno.ENOSYS))


@dataclass(frozen=True, slots=True)
class SecretFile:
    """The path of a secret file, with the attributes of `Corrected`. `exists`: the file exists and was read."""

    value: str
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exists: bool = True


def read_secret_file(text: str) -> SecretFile:
    """Read the named secret file once. Return its path, with notes about problems. They do not contain the secret.

    Raise InvalidInput for a name that may be the secret itself, and for a file without a readable secret.
    """
    if not _is_text(text):
        raise InvalidInput("has bytes that are not UTF-8, which the configuration cannot contain; use another name")
    name = _expand_home(text.strip())
    exists = os.path.lexists(name)
    file = secret_file(name if exists else text, exists=exists)
    path = _expand_home(file.value)
    if not os.path.lexists(path):
        return SecretFile(path, file.changes, (_MISSING,), exists=False)
    try:
        secret = SecretReader({}).read(SecretRef(file=path))
        return SecretFile(path, file.changes, tuple(_notes(path, suspicious(secret))))
    except SecretProblem as problem:
        raise InvalidInput(f"cannot be used: {problem.what}; {problem.remedy}") from None


def _notes(path: str, defect: str) -> Iterator[str]:
    if defect:
        yield f"the secret {defect}, which is sent as part of the secret; remove it from the file"
    if Path(path).read_bytes().endswith(b"\n"):
        yield "the newline at the end of the file is not part of the secret; the file stays unchanged"
    if exposed := exposure(Path(path)):
        yield f"the file {exposed}; `chmod {SECRET_MODE:o}` it"


def write_secret_file(path: str, secret: str) -> None:
    """Write the secret to a new file that only this user can read. Raise InvalidInput if that fails."""
    if not _is_text(secret):
        raise InvalidInput("was not written: the secret is not valid text; paste it again")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
    except (OSError, ValueError) as cause:
        raise InvalidInput(f"cannot be written ({_reason(cause)}); name another file") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret.encode())
        file.flush()
        os.fsync(descriptor)


def path_in_config(secret: str, config: Path) -> str:
    """Return the path of the secret file for the configuration: relative to the folder of the configuration if it is
    below that folder, else absolute.
    """
    path, folder = Path.cwd() / secret, Path.cwd() / config.parent
    if Path(secret).is_absolute():
        return secret
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def write_config(
    text: str, file: Path, *, environ: Mapping[str, str], force: bool = False, check_secrets: bool = True
) -> Loaded:
    """Write the configuration atomically after the loader has accepted it. Return the loaded configuration.

    `force` permits to overwrite an existing file; with `check_secrets` the loader reads the secret file. Raise
    ConfigProblems that name flags if the loader rejects the text; FileExistsError if the file exists, without `force`;
    and OSError.
    """
    with _temporary_file(file.parent) as draft:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(CONFIG_MODE)
        try:
            loaded = load(draft, environ=environ, check_secrets=check_secrets)
        except ConfigProblems as problems:
            raise ConfigProblems([_with_flag(problem) for problem in problems.problems]) from None
        _sync(draft)
        if force:
            draft.replace(file)
        else:
            _link(draft, file)
        _sync(file.parent)
    return replace(loaded, warnings=tuple(_with_flag(warning) for warning in loaded.warnings))


@contextlib.contextmanager
def _temporary_file(folder: Path) -> Iterator[Path]:
    """Create a temporary file in the folder and delete it at the end."""
    descriptor, name = tempfile.mkstemp(prefix=".gateway-init.", dir=folder)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _link(draft: Path, target: Path) -> None:
    """Rename the draft atomically. Raise FileExistsError if the target exists."""
    try:
        os.link(draft, target)
    except OSError as cause:
        if cause.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, CONFIG_MODE))
        draft.replace(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _with_flag(problem: LocatedIssue) -> LocatedIssue:
    steps = problem.path.replace("[", ".").split(".")
    flag = next((_FLAGS[step] for step in reversed(steps) if step in _FLAGS), problem.path)
    return problem._replace(file="", line=0, path=flag)


def _expand_home(text: str) -> str:
    """Replace `~` with the home of the user. Raise InvalidInput if the user has none, as in containers."""
    try:
        return str(Path(text).expanduser()) if text.startswith("~/") else text
    except RuntimeError:
        raise InvalidInput("begins with `~`, but this user has no home folder; write the absolute path") from None


def _is_text(text: str) -> bool:
    """Return False for text with surrogates: bytes that are not valid in the encoding of the input (PEP 383)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _reason(cause: OSError | ValueError) -> str:
    return getattr(cause, "strerror", None) or "not a path"
