"""From the configured callers to a `CallerDirectory`, whose secrets are read again when they change."""

import asyncio
import logging
import secrets as random_bytes
from collections.abc import Container, Hashable, Iterable, Mapping
from contextlib import suppress

import msgspec

from gateway.callers.directory import CallerDirectory, ScopedProofs
from gateway.callers.proof_table import CallerProofs, ProofTable
from gateway.callers.replay_cache import ReplayCache
from gateway.config.caller_model import BasicProof, CallerSettings, WsseProof
from gateway.config.issue import SecretProblem
from gateway.config.model import Config
from gateway.config.secrets import SecretReader
from gateway.config.strict_model import SecretRef, secret_refs
from gateway.observe.log import log_event
from gateway.system.files import in_thread
from gateway.system.peer_credentials import user_id

log = logging.getLogger("gateway.callers")

CHECK_INTERVAL = 1.0
"""Seconds between two checks of the files of the callers' secrets."""
_WITH_SECRETS = ("basic", "api_key", "wsse")


class LoadedProofs(msgspec.Struct, frozen=True):
    """The proofs of all callers, read from files, variables and servers. `problems` are unreadable secrets by caller.
    `fingerprint` changes when a file or a secret of a server changes.
    """

    proofs: ScopedProofs
    problems: tuple[tuple[str, str], ...]
    fingerprint: tuple[Hashable, ...]
    reader: "CallerProofReader"


class ConfiguredCallers(msgspec.Struct, frozen=True):
    """The callers of a configuration, and the proofs that were read for them."""

    directory: CallerDirectory
    loaded: LoadedProofs


class CallerProofReader:
    """Reads the proofs of the callers of one configuration. Its methods block: call them in a thread."""

    def __init__(self, callers: dict[str, CallerSettings], secrets: SecretReader, *, key: bytes) -> None:
        """`key` are random bytes for the digests of proofs."""
        self._callers = callers
        self._secrets = secrets
        self._key = key
        self._refs = [ref for each in callers.values() for ref in _refs_of(each) if ref.env is None]

    def load(self) -> LoadedProofs:
        """Read all proofs. A secret that cannot be read proves nothing until it can be read."""
        fingerprint = (
            self.fingerprint()
        )  # read before the secrets, so that a change in between is found at the next check
        problems: list[tuple[str, str]] = []
        proofs = {name: self._proofs_of(name, settings, problems) for name, settings in self._callers.items()}
        scopes = {settings.file_scope for settings in self._callers.values()} - {""}
        main = self._table(proofs, {""})
        by_scope = {"": main} | {scope: self._table(proofs, {"", scope}) for scope in scopes}
        every = self._table(proofs, {"", *scopes}) if scopes else main
        return LoadedProofs(ScopedProofs(every, by_scope), tuple(problems), fingerprint, self)

    def fingerprint(self) -> tuple[Hashable, ...]:
        """Return a value that changes when a secret changes."""
        return tuple(self._secrets.fingerprint(ref) for ref in self._refs)

    def _table(self, proofs: Mapping[str, CallerProofs], scopes: Container[str]) -> ProofTable:
        """Return the table of the callers of these scopes."""
        callers = {name: settings for name, settings in self._callers.items() if settings.file_scope in scopes}
        uses = {kind for each in callers.values() for kind in _WITH_SECRETS if getattr(each, kind) is not None}
        return ProofTable([proofs[name] for name in callers], key=self._key, uses=frozenset(uses))

    def _proofs_of(self, name: str, settings: CallerSettings, problems: list[tuple[str, str]]) -> CallerProofs:
        def values(secrets: SecretRef | list[SecretRef] | None) -> tuple[str, ...]:
            found = []
            for ref in secret_refs(secrets):
                try:
                    found.append(self._secrets.read(ref).get_secret_value())
                except SecretProblem as problem:
                    problems.append((name, str(problem)))
            return tuple(found)

        def pairs(proof: BasicProof | WsseProof | None) -> tuple[tuple[str, str], ...]:
            return () if proof is None else tuple((proof.username, password) for password in values(proof.password))

        certificate = settings.certificate
        return CallerProofs(
            name,
            basic=pairs(settings.basic),
            api_keys=values(settings.api_key),
            wsse=pairs(settings.wsse),
            certificates=() if certificate is None else tuple((kind, text) for kind, text in certificate if text),
            user_ids=() if settings.unix_user is None else _user_ids(settings.unix_user),
            networks=tuple(settings.networks or ()),
        )


class CallerProofWatch:
    """Updates the proofs of a directory when the secrets change."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, callers: ConfiguredCallers) -> None:
        """Watch the secrets of these callers, in place of those before."""
        self.stop()
        _report_problems(callers.loaded.problems)
        if callers.loaded.fingerprint:
            self._task = asyncio.get_running_loop().create_task(_watch(callers.directory, callers.loaded))

    def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            self._task = None


async def _watch(directory: CallerDirectory, loaded: LoadedProofs) -> None:
    reader = loaded.reader
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        with suppress(OSError):  # a hanging volume: the proofs do not change
            if await in_thread(reader.fingerprint, owner=reader) != loaded.fingerprint:
                before, loaded = loaded, await in_thread(reader.load, owner=reader)
                directory.proofs = loaded.proofs
                _report_problems(set(loaded.problems).difference(before.problems))
                log_event(log, logging.INFO, "caller-secrets-reloaded", "secrets of callers were read again")


def build_callers(loaded: LoadedProofs, *, seen: ReplayCache) -> ConfiguredCallers:
    """Return the callers whose proofs are loaded. `seen` are the one-time proofs that were used."""
    return ConfiguredCallers(CallerDirectory(loaded.proofs, seen), loaded)


def challenges_of(config: Config, callers: Iterable[str]) -> tuple[str, ...]:
    """Return the field lines that request the proofs of these callers (RFC 7617 §2, RFC 6750 §3)."""
    settings = [config.callers[name] for name in callers]
    lines = []
    if any(each.basic is not None for each in settings):
        lines.append('WWW-Authenticate: Basic realm="oic-gateway", charset="UTF-8"')
    if any(each.api_key is not None for each in settings):
        lines.append('WWW-Authenticate: Bearer realm="oic-gateway"')
    return tuple(lines)


def new_digest_key() -> bytes:
    """Return a random key for the digests of proofs; one for each process."""
    return random_bytes.token_bytes(32)


def _refs_of(settings: CallerSettings) -> tuple[SecretRef, ...]:
    passwords = [proof.password for proof in (settings.basic, settings.wsse) if proof is not None]
    return tuple(ref for secrets in (*passwords, settings.api_key) for ref in secret_refs(secrets))


def _user_ids(user: str) -> tuple[int, ...]:
    number = user_id(user)
    return () if number is None else (number,)


def _report_problems(problems: Iterable[tuple[str, str]]) -> None:
    for caller, problem in problems:
        log_event(log, logging.ERROR, "caller-secret-unreadable", problem, caller=caller)
