"""Secrets of OCI Vault, read with Oracle's own client, which is loaded when the first one is asked for.

Each is kept for a while. OCI that does not answer harms no secret that was read before; one that is refused is gone.

Oracle's client blocks, and its limits are those of single steps: an answer that trickles has no end. So each read is a
thread of its own, which is left behind when it takes longer than `LIMIT`.
"""

import base64
import importlib
import importlib.util
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.config.issue import SecretProblem
from gateway.config.model import Oci
from gateway.system.files import within_limit

AGAIN = 10.0  # seconds: neither a secret that is in doubt nor OCI in trouble is asked more often
TIMEOUT = (5.0, 10.0)  # seconds: to connect, and between two bytes of the answer
LIMIT = 20.0  # seconds: to read one secret
MISSING = "needs the package `oci`, which is not installed"
INSTALL = "run: pip install 'oic-gateway[oci]'"

_PASSING = "it is tried again; see https://ocistatus.oraclecloud.com if it lasts"
_READERS = {"config_file": "the user's group"}
# By `auth`: why OCI would not know the gateway.
_UNKNOWN = {
    "instance_principal": "run it on an instance of OCI, or choose another `oci.auth`",
    "resource_principal": "run it in a resource of OCI that has a principal, or choose another `oci.auth`",
    "config_file": "mend ~/.oci/config and its key, or name another `oci.profile`",
}


class _VaultFailure(Exception):
    """Why there is no secret: it goes on after its name. One that is `passing` says nothing of this very secret."""

    def __init__(self, reason: str, remedy: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.passing = passing


@dataclass(slots=True)
class _CachedSecret:
    """A secret as it was read; `until` may be brought forward."""

    content: bytes = field(repr=False)
    version: int
    read_at: float
    until: float


class Vault:
    """The secrets that OCI Vault keeps, by their OCIDs; for threads, since OCI may take its time.

    `now` counts seconds. Every failure is a SecretProblem that names the OCID, and is remembered for `AGAIN` seconds.
    """

    def __init__(self, settings: Oci, *, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._now = now
        self._copies: dict[str, _CachedSecret] = {}
        self._troubles: dict[str, tuple[_VaultFailure, float]] = {}  # by OCID, or by region where it is OCI's own
        self._clients: dict[str, Any] = {}  # by region, while none of them is in use
        self._identity: dict[str, Any] | None = None
        self._locks: dict[str, threading.Lock] = {}  # by region: its secrets are read one after the other

    def read(self, ocid: str) -> bytes:
        """The content of the secret's current version. Raises SecretProblem."""
        return self._copy(ocid).content

    def version(self, ocid: str) -> int | None:
        """The number of that version; None where it cannot be read."""
        try:
            return self._copy(ocid).version
        except SecretProblem:
            return None

    def expire(self, ocid: str) -> None:
        """Has the secret read again when it is asked for the next time, unless it was a moment ago. Asks nobody."""
        copy = self._copies.get(ocid)
        if copy is not None:
            copy.until = min(copy.until, copy.read_at + AGAIN)

    def _copy(self, ocid: str) -> _CachedSecret:
        if (copy := self._usable(ocid)) is not None:
            return copy
        with self._locks.setdefault(_region(ocid), threading.Lock()):
            try:
                return self._usable(ocid) or self._fresh(ocid)
            except _VaultFailure as trouble:
                raise SecretProblem(f"the secret `{ocid}` of OCI Vault {trouble.reason}", trouble.remedy) from None

    def _usable(self, ocid: str) -> _CachedSecret | None:
        copy = self._copies.get(ocid)
        return copy if copy is not None and self._now() < copy.until else None

    def _fresh(self, ocid: str) -> _CachedSecret:
        now = self._now()
        trouble = self._remembered(ocid, now) or self._asked(ocid, now)
        if trouble is None:
            return self._copies[ocid]
        copy = self._copies.get(ocid)
        if copy is None or not trouble.passing:
            self._copies.pop(ocid, None)
            raise trouble
        return copy

    def _remembered(self, ocid: str, now: float) -> _VaultFailure | None:
        for name in (ocid, _region(ocid)):
            trouble, until = self._troubles.get(name, (None, 0.0))
            if trouble is not None and now < until:
                return _VaultFailure(
                    trouble.reason, trouble.remedy, passing=trouble.passing
                )  # traces would gather in one
        return None

    def _asked(self, ocid: str, now: float) -> _VaultFailure | None:
        try:
            content, version = self._in_time(ocid)
        except _VaultFailure as trouble:
            self._troubles[_region(ocid) if trouble.passing else ocid] = trouble, self._now() + AGAIN
            return trouble
        self._copies[ocid] = _CachedSecret(content, version, now, now + self._settings.refresh)
        return None

    def _in_time(self, ocid: str) -> tuple[bytes, int]:
        try:
            return within_limit(lambda: self._retrieved(ocid), owner=(self, _region(ocid)), limit=LIMIT)
        except TimeoutError as late:
            self._identity = None  # what hangs may be holding it
            raise _VaultFailure(f"cannot be had now ({late.strerror})", _PASSING, passing=True) from None

    def _retrieved(self, ocid: str) -> tuple[bytes, int]:
        client = self._client(ocid)
        try:
            bundle = client.get_secret_bundle(ocid).data
            content = base64.b64decode(bundle.secret_bundle_content.content or "", validate=True)
            return content, int(bundle.version_number)
        except Exception as cause:  # noqa: BLE001 - the errors of Oracle's package have no common root
            raise _told(cause, self._settings.auth) from None
        finally:
            self._clients[_region(ocid)] = client

    def _client(self, ocid: str) -> Any:
        """The client of the secret's region, which the OCID names; else of the region where the gateway is. It is the
        caller's alone: a thread that was left behind keeps the one that it uses.
        """
        if not is_installed():
            raise _VaultFailure(MISSING, INSTALL)
        region = _region(ocid)
        if (client := self._clients.pop(region, None)) is not None:
            return client
        try:
            return self._made(region)
        except Exception as cause:  # noqa: BLE001 - as above
            raise _unknown(cause, self._settings.auth) from None

    def _made(self, region: str) -> Any:
        oci = importlib.import_module("oci")
        if (identity := self._identity) is None:
            identity = self._identity = _IDENTITIES[self._settings.auth](oci, self._settings)
        known = dict(identity)
        if region:
            known["config"] = known["config"] | {"region": oci.regions.get_region_from_short_name(region)}
        if self._settings.endpoint is not None:
            known["service_endpoint"] = self._settings.endpoint.rstrip("/")
        # Tries again and breaks are the token source's own.
        return oci.secrets.SecretsClient(
            timeout=TIMEOUT,
            retry_strategy=oci.retry.NoneRetryStrategy(),
            circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
            **known,
        )


def _region(ocid: str) -> str:
    return ocid.split(".")[3]


def is_installed() -> bool:
    """Whether Oracle's package is there; it is not loaded."""
    return importlib.util.find_spec("oci") is not None


def _instance(oci: Any, _: Oci) -> dict[str, Any]:
    once = oci.retry.NoneRetryStrategy()
    signers = oci.auth.signers
    signer = signers.InstancePrincipalsSecurityTokenSigner(retry_strategy=once, federation_client_retry_strategy=once)
    return {"config": {}, "signer": signer}


def _resource(oci: Any, _: Oci) -> dict[str, Any]:
    return {"config": {}, "signer": oci.auth.signers.get_resource_principals_signer()}


def _profile(oci: Any, settings: Oci) -> dict[str, Any]:
    return {"config": oci.config.from_file(profile_name=settings.profile or "DEFAULT")}


_IDENTITIES: dict[str, Callable[[Any, Oci], dict[str, Any]]] = {
    "instance_principal": _instance,
    "resource_principal": _resource,
    "config_file": _profile,
}


def _told(cause: Exception, auth: str) -> _VaultFailure:
    """What went wrong, in words that quote nothing of the answer but its code."""
    status = getattr(cause, "status", None)
    if not isinstance(status, int):
        if isinstance(cause, ValueError | TypeError | AttributeError) and not isinstance(cause, OSError):
            return _VaultFailure("cannot be understood: it is no text in base64", "mend its content in the Vault")
        return _VaultFailure(
            f"cannot be reached ({type(cause).__name__})", "see that the way to OCI is open", passing=True
        )
    said = f"{status} {_code(cause)}".rstrip()
    if status == 401:
        return _VaultFailure(f"is refused, OCI does not know the gateway ({said})", _UNKNOWN[auth])
    if status == 429 or status >= 500:
        return _VaultFailure(f"cannot be had now ({said})", _PASSING, passing=True)
    who = _READERS.get(auth, "the gateway's dynamic group")
    return _VaultFailure(f"is refused ({said})", f"let a policy allow {who} to `read secret-bundles`, or mend the OCID")


def _unknown(cause: Exception, auth: str) -> _VaultFailure:
    reason = f"cannot be read, the gateway is nobody to OCI by `{auth}` ({type(cause).__name__})"
    return _VaultFailure(reason, _UNKNOWN[auth], passing=True)


def _code(cause: Exception) -> str:
    code = str(getattr(cause, "code", ""))
    return code if re.fullmatch(r"[A-Za-z]{1,40}", code) else ""
