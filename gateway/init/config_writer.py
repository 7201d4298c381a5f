"""The files of `init`: the secret's, which is looked at or made, and the configuration, which the product's own loader
judges before it takes its place.
"""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.config.corrections.client_secret import secret_file
from gateway.config.corrections.pasted_text import InvalidInput
from gateway.config.issue import ConfigProblems, LocatedIssue, SecretProblem
from gateway.config.load import Loaded, load
from gateway.config.secrets import Secrets, exposure, suspicious
from gateway.config.strict_model import SecretRef

CONFIG_MODE = 0o644
SECRET_MODE = 0o600
"""The configuration holds no secret, and is read by the user that the gateway runs as."""

# By the last key of a problem's place: the flag that gave the value.
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
_MISSING = "the file is not there yet; before `serve`, put the secret into it, and let only the gateway's user read it"
# Where a file system knows no hard links.
_NO_LINKS = frozenset((errno.EPERM, errno.ENOTSUP, errno.ENOSYS))


@dataclass(frozen=True, slots=True)
class SecretFile:
    """The path of a secret's file, as `Corrected` says a value; `is_there` when it was read."""

    value: str
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_there: bool = True


def look(text: str) -> SecretFile:
    """The file of a secret as it was named, read once: what may be wrong with what is in it, without showing it.

    Raises Uncorrectable for a name that may be the secret itself, and for a file that no secret can be read from.
    """
    if not _is_text(text):
        raise InvalidInput("has bytes that are not UTF-8, which the configuration cannot hold; use another name")
    given = _at_home(text.strip())
    is_given = os.path.lexists(given)
    file = secret_file(given if is_given else text, exists=is_given)
    path = _at_home(file.value)
    if not os.path.lexists(path):
        return SecretFile(path, file.changes, (_MISSING,), is_there=False)
    try:
        secret = Secrets({}).read(SecretRef(file=path))
        return SecretFile(path, file.changes, tuple(_notes(path, suspicious(secret))))
    except SecretProblem as problem:
        raise InvalidInput(f"does not do: {problem.what}; {problem.remedy}") from None


def _notes(path: str, said: str) -> Iterator[str]:
    if said:
        yield f"the secret {said}, which is sent as part of it; take it out of the file"
    if Path(path).read_bytes().endswith(b"\n"):
        yield "the newline at the end of the file is left off; the file stays as it is"
    if exposed := exposure(Path(path)):
        yield f"the file {exposed}; `chmod {SECRET_MODE:o}` it"


def keep_secret(path: str, secret: str) -> None:
    """Writes the secret into a new file that only this user can read. Raises Uncorrectable where it cannot."""
    if not _is_text(secret):
        raise InvalidInput("was not written: the secret has bytes that are no text; paste it again")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
    except (OSError, ValueError) as cause:
        raise InvalidInput(f"cannot be written ({_reason(cause)}); name another place") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret.encode())
        file.flush()
        os.fsync(descriptor)


def as_written(secret: str, config: Path) -> str:
    """The path of the secret's file as the configuration names it: a relative one counts from the configuration's
    folder, one that is not below it is written whole.
    """
    path, folder = Path.cwd() / secret, Path.cwd() / config.parent
    if Path(secret).is_absolute():
        return secret
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def write(text: str, file: Path, *, environ: Mapping[str, str], force: bool = False, secret: bool = True) -> Loaded:
    """Puts the text where `file` says, whole or not at all, once the loader has found it good; gives what it loaded.

    Without `force` an existing file is left alone. `secret`: the secret's file is read too. Raises ConfigProblems,
    whose places are flags, for what the loader refuses, and OSError.
    """
    with _beside(file) as draft:
        draft.write_text(text, encoding="utf-8")
        draft.chmod(CONFIG_MODE)
        try:
            loaded = load(draft, environ=environ, check_secrets=secret)
        except ConfigProblems as problems:
            raise ConfigProblems([_of_flag(problem) for problem in problems.problems]) from None
        _sync(draft)
        if force:
            draft.replace(file)
        else:
            _link(draft, file)
        _sync(file.parent)
    return replace(loaded, warnings=tuple(_of_flag(one) for one in loaded.warnings))


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A file of no name of its own, in the same folder."""
    descriptor, name = tempfile.mkstemp(prefix=".gateway-init.", dir=target.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _link(draft: Path, target: Path) -> None:
    """Gives the draft its name unless somebody has it, in one step; FileExistsError where they have."""
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


def _of_flag(problem: LocatedIssue) -> LocatedIssue:
    steps = problem.path.replace("[", ".").split(".")
    flag = next((_FLAGS[step] for step in reversed(steps) if step in _FLAGS), problem.path)
    return replace(problem, file="", line=0, path=flag)


def _at_home(text: str) -> str:
    """The path with the home of the user in place of `~`. Raises Uncorrectable for a user without one, as containers
    have.
    """
    try:
        return str(Path(text).expanduser()) if text.startswith("~/") else text
    except RuntimeError:
        raise InvalidInput("begins with `~`, but this user has no home folder; write the whole path") from None


def _is_text(text: str) -> bool:
    """False for bytes of a command line or a terminal that are no text in its encoding (PEP 383)."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _reason(cause: OSError | ValueError) -> str:
    return getattr(cause, "strerror", None) or "not a path"
