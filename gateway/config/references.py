"""Check the secrets, certificates and keys that a file references, before the first call uses them.

The checks use the plain values of the file. The model reports values of the wrong type. Secrets of servers are not
read here, but when they are used.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.config import oci_vault, otel_package
from gateway.config.console_users import UnusableUsers, read_users
from gateway.config.cross_checks import check_own_hosts
from gateway.config.issue import (
    ConfigIssue,
    SecretProblem,
    Steps,
)
from gateway.config.model import Config, HistorySettings
from gateway.config.reference_reader import ReferenceReader, local_reference, unreadable
from gateway.config.reference_walk import find_references
from gateway.config.secret_strength import ENOUGH_BITS, estimate_bits
from gateway.config.secrets import SecretReader, exposure
from gateway.config.state_model import StateSettings
from gateway.config.values import is_local
from gateway.config.vault_environment import check_vault
from gateway.config.vault_model import VaultSettings
from gateway.content.untrusted_text import DEFAULT_PORTS, read_url
from gateway.history.free_space import bytes_used, volume_of
from gateway.system.own_host import is_own_host
from gateway.system.peer_credentials import user_id

MIB = 1024 * 1024
CONSOLE_PACKAGES = ("argon2", "jinja2")
CONSOLE_MISSING = "requires packages that are not installed"
CONSOLE_INSTALL = "run `pip install 'oic-gateway[console]'`"


def check_references(tree: Mapping[str, Any], *, base: Path, environ: Mapping[str, str]) -> Iterator[ConfigIssue]:
    """Yield problems of everything that the plain value `tree` references; relative paths are relative to `base`."""
    yield from ReferenceReader(base, SecretReader(environ, base=base)).check(tree, ())
    yield from _check_caller_secrets(tree, SecretReader(environ, base=base))
    yield from _check_hooks(tree, ReferenceReader(base, SecretReader(environ, base=base)))
    yield from _check_history_room(tree, base)
    yield from check_own_hosts(tree, is_own_host)
    yield from _check_console_files(tree, base)
    yield from _check_servers(tree, base, environ)
    if isinstance(tree.get("telemetry"), dict) and not otel_package.is_installed():
        yield ConfigIssue(("telemetry",), otel_package.MISSING, otel_package.INSTALL)


class HistoryAndState(BaseModel):
    """The keys of the file that determine where and how many calls are recorded."""

    model_config = ConfigDict(defer_build=True)  # most files have no `state`

    state: StateSettings | None = None
    history: HistorySettings = Field(default_factory=HistorySettings)


def accepts_console_host_installed() -> bool:
    """Return whether the packages of the console are installed. Do not import them."""
    return all(importlib.util.find_spec(name) is not None for name in CONSOLE_PACKAGES)


def _check_console_files(tree: Mapping[str, Any], base: Path) -> Iterator[ConfigIssue]:
    """Yield issues of the console: missing packages, a file of users that cannot be used, a folder of the audit that
    cannot be written.
    """
    console = tree.get("console")
    if not isinstance(console, dict):
        return
    if not accepts_console_host_installed():
        yield ConfigIssue(("console",), CONSOLE_MISSING, CONSOLE_INSTALL)
        return
    users, audit = console.get("users"), console.get("audit")
    if isinstance(users, str) and users:
        yield from _check_users(base / users)
    if isinstance(audit, str) and audit:
        yield from _check_audit(base / audit)


def _check_users(path: Path) -> Iterator[ConfigIssue]:
    steps: Steps = ("console", "users")
    try:
        users = read_users(path)
    except UnusableUsers as cause:
        yield ConfigIssue(steps, f"`{path}` cannot be used: {cause}", "correct the line; `oic-gateway user` writes it")
    except OSError as cause:
        yield unreadable(steps, path, cause)
    else:
        if not users:
            yield ConfigIssue(steps, "names no user", "add one with `oic-gateway user add`", severity="warning")
        if exposed := exposure(path):
            yield ConfigIssue(steps, f"`{path}` {exposed}", "`chmod 600` it", severity="warning")


def _check_audit(path: Path) -> Iterator[ConfigIssue]:
    writable = os.access(path, os.W_OK) if os.access(path, os.F_OK) else os.access(path.parent, os.W_OK | os.X_OK)
    if not writable or path.is_dir():
        what = f"`{path}` cannot be written"
        yield ConfigIssue(("console", "audit"), what, "create its folder, and let the gateway's user write to it")


def _check_hooks(tree: Mapping[str, Any], reader: ReferenceReader) -> Iterator[ConfigIssue]:
    """Yield issues of the URLs of hooks, which are secrets."""
    hooks = tree.get("notify")
    for index, hook in enumerate(hooks if isinstance(hooks, list) else ()):
        reference = hook.get("url") if isinstance(hook, dict) else None
        if not isinstance(reference, dict):
            continue
        steps: Steps = ("notify", index, "url")
        yield from reader.check_secret(reference, steps)
        text = reader.read_or_none(reference)
        url = None if text is None else read_url(text.strip())
        if text is not None and (url is None or not url.host or url.scheme not in DEFAULT_PORTS):
            yield ConfigIssue(steps, "is not an http or https URL", "write the URL of the hook, like https://…")
        elif url is not None and url.scheme == "http" and not is_local(url.host):
            what = "sends notifications unencrypted, and shows the secret URL to the network"
            yield ConfigIssue(steps, what, "use https", severity="warning")


def _check_caller_secrets(tree: Mapping[str, Any], secrets: SecretReader) -> Iterator[ConfigIssue]:
    """Yield issues of callers: secrets that can be guessed, proofs of two callers, users that do not exist."""
    callers, first = tree.get("callers"), dict[tuple[str, str, str], str]()
    for name, settings in callers.items() if isinstance(callers, dict) else ():
        if not isinstance(settings, dict):
            continue
        for steps, value, proof in _caller_secrets(settings, secrets):
            where = ("callers", name, *steps)
            if (bits := estimate_bits(value)) < ENOUGH_BITS:
                what = f"has at most {bits:.0f} bits of entropy; only one of {ENOUGH_BITS} or more cannot be guessed"
                remedy = "use a longer random one; `oic-gateway caller key NAME` makes one"
                yield ConfigIssue(where, what, remedy, severity="warning")
            if first.setdefault(proof, name) != name:
                what = "is the same proof as that of another caller"
                yield ConfigIssue(where, what, "give each caller a secret of its own")
        user = settings.get("unix_user")
        if isinstance(user, str) and user and user_id(user) is None:
            yield ConfigIssue(("callers", name, "unix_user"), "is not a user of this system", "write its number")


def _caller_secrets(
    settings: dict[str, Any], secrets: SecretReader
) -> Iterator[tuple[Steps, str, tuple[str, str, str]]]:
    """Yield the steps and the value of each secret that can be read, and what must differ between callers."""
    for kind in ("basic", "api_key", "wsse"):
        proof, username = settings.get(kind), ""
        steps: Steps = (kind,)
        if kind != "api_key":
            proof = proof if isinstance(proof, dict) else {}
            username, proof, steps = str(proof.get("username")), proof.get("password"), (kind, "password")
        for index, value in enumerate(proof if isinstance(proof, list) else [proof]):
            ref = local_reference(value)
            if ref is None:
                continue
            with contextlib.suppress(SecretProblem):  # reported with all secrets
                text = secrets.read(ref).get_secret_value()
                yield ((*steps, index) if isinstance(proof, list) else steps), text, (kind, username, text)


def _check_history_room(tree: Mapping[str, Any], base: Path) -> Iterator[ConfigIssue]:
    """Warn if the volume of `state.path` has too little room for the recorded calls."""
    if tree.get("state") is None:
        return
    try:
        config = HistoryAndState.model_validate(tree, context={"base": base})
        if config.state is None or config.state.path is None or config.history.calls == 0:
            return
        path = Path(f"{config.state.path}.history")
        room = volume_of(path).room(bytes_used(path))
    except (ValidationError, OSError):  # reported by the model, or when the file is opened
        return
    if room < config.history.size:
        what = (
            f"has room for {room // MIB} MiB of calls on its volume, less than the {config.history.size // MIB} MiB of "
            "`history.size`; the rest of the volume stays free for tokens, and the oldest calls are deleted earlier"
        )
        yield ConfigIssue(("state", "path"), what, "set a smaller `history.size`, or make room", severity="warning")


def referenced_variables(value: Any) -> Iterator[str]:
    """Yield the environment variables that `{env: NAME}` names anywhere in a plain value."""
    if isinstance(value, dict):
        if isinstance(value.get("env"), str):
            yield value["env"]
        for inner in value.values():
            yield from referenced_variables(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from referenced_variables(inner)


def _check_servers(tree: Mapping[str, Any], base: Path, environ: Mapping[str, str]) -> Iterator[ConfigIssue]:
    """Yield issues of the access to the servers of secrets, at the first reference to each."""
    first: dict[str, Steps] = {}
    for _, key, steps in find_references(Config, tree):
        if key == "vault" and steps[0] == "vault":
            yield ConfigIssue(steps, "is in Vault itself, which it opens", "write {file: /path} or {env: NAME}")
        else:
            first.setdefault(key, steps)
    if "oci_vault" in first and not oci_vault.is_installed():
        yield ConfigIssue(first["oci_vault"], f"a secret of OCI Vault {oci_vault.MISSING}", oci_vault.INSTALL)
    if "vault" in first:
        with contextlib.suppress(ValidationError):  # reported by the model
            settings = VaultSettings.model_validate(tree.get("vault", {}), context={"base": base})
            yield from check_vault(settings, environ, first["vault"])
