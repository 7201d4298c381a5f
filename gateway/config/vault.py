"""Read secrets of OCI Vault with Oracle's client, which is imported at the first read.

Secrets are cached. During an OCI outage the cached copies stay in use; a secret that OCI refuses is dropped.

Oracle's client blocks, and its timeouts apply to single steps: they do not bound a slow response. So each read runs in
its own thread, which is abandoned after `LIMIT`.
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
from gateway.config.model import OciSettings
from gateway.system.files import run_with_timeout

RETRY_INTERVAL = 10.0  # seconds until an expired or failed secret is requested again
TIMEOUT = (5.0, 10.0)  # seconds: to connect, and between two bytes of the response
LIMIT = 20.0  # seconds: to read one secret
MISSING = "needs the package `oci`, which is not installed"
INSTALL = "run: pip install 'oic-gateway[oci]'"

_TRANSIENT = "the gateway retries; check https://ocistatus.oraclecloud.com if this repeats"
_READERS = {"config_file": "the user's group"}
# By `auth`: the remedy if OCI does not accept the identity of the gateway.
_IDENTITY_REMEDIES = {
    "instance_principal": "run it on an instance of OCI, or choose another `oci.auth`",
    "resource_principal": "run it in a resource of OCI that has a principal, or choose another `oci.auth`",
    "config_file": "correct ~/.oci/config and its key, or name another `oci.profile`",
}


class _VaultFailure(Exception):
    """A failed read. `reason` follows the secret's name in a message; `is_transient` means that OCI itself failed."""

    def __init__(self, reason: str, remedy: str, *, is_transient: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.is_transient = is_transient


@dataclass(slots=True)
class _CachedSecret:
    """The cached content of a secret, valid until `until` (seconds of the clock)."""

    content: bytes = field(repr=False)
    version: int
    read_at: float
    until: float


class Vault:
    """Secrets of OCI Vault by OCID. Calls may block; they are thread-safe.

    `now` returns seconds. Every failure is a SecretProblem that names the OCID, cached for `RETRY_INTERVAL` seconds.
    """

    def __init__(self, settings: OciSettings, *, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._now = now
        self._copies: dict[str, _CachedSecret] = {}
        self._failures: dict[str, tuple[_VaultFailure, float]] = {}  # by OCID; transient ones by region
        self._clients: dict[str, Any] = {}  # by region: clients that are not in use
        self._identity: dict[str, Any] | None = None
        self._locks: dict[str, threading.Lock] = {}  # by region: one read at a time

    def read(self, ocid: str) -> bytes:
        """Return the content of the secret's current version. Raise SecretProblem."""
        return self._copy(ocid).content

    def version(self, ocid: str) -> int | None:
        """Return the number of the current version; None if the secret cannot be read."""
        try:
            return self._copy(ocid).version
        except SecretProblem:
            return None

    def expire(self, ocid: str) -> None:
        """Expire the copy, but not earlier than `RETRY_INTERVAL` seconds after it was read. Do no I/O."""
        copy = self._copies.get(ocid)
        if copy is not None:
            copy.until = min(copy.until, copy.read_at + RETRY_INTERVAL)

    def _copy(self, ocid: str) -> _CachedSecret:
        if (copy := self._valid_copy(ocid)) is not None:
            return copy
        with self._locks.setdefault(_region(ocid), threading.Lock()):
            try:
                return self._valid_copy(ocid) or self._refresh(ocid)
            except _VaultFailure as failure:
                raise SecretProblem(f"the secret `{ocid}` of OCI Vault {failure.reason}", failure.remedy) from None

    def _valid_copy(self, ocid: str) -> _CachedSecret | None:
        copy = self._copies.get(ocid)
        return copy if copy is not None and self._now() < copy.until else None

    def _refresh(self, ocid: str) -> _CachedSecret:
        now = self._now()
        failure = self._cached_failure(ocid, now) or self._fetch(ocid, now)
        if failure is None:
            return self._copies[ocid]
        copy = self._copies.get(ocid)
        if copy is None or not failure.is_transient:
            self._copies.pop(ocid, None)
            raise failure
        return copy

    def _cached_failure(self, ocid: str, now: float) -> _VaultFailure | None:
        for name in (ocid, _region(ocid)):
            failure, until = self._failures.get(name, (None, 0.0))
            if failure is not None and now < until:
                # A new exception: a raised one would collect tracebacks.
                return _VaultFailure(failure.reason, failure.remedy, is_transient=failure.is_transient)
        return None

    def _fetch(self, ocid: str, now: float) -> _VaultFailure | None:
        try:
            content, version = self._retrieve_in_time(ocid)
        except _VaultFailure as failure:
            self._failures[_region(ocid) if failure.is_transient else ocid] = failure, self._now() + RETRY_INTERVAL
            return failure
        self._copies[ocid] = _CachedSecret(content, version, now, now + self._settings.refresh)
        return None

    def _retrieve_in_time(self, ocid: str) -> tuple[bytes, int]:
        try:
            return run_with_timeout(lambda: self._retrieve(ocid), owner=(self, _region(ocid)), timeout=LIMIT)
        except TimeoutError as error:
            self._identity = None  # the abandoned thread may hold it
            raise _VaultFailure(f"is not available now ({error.strerror})", _TRANSIENT, is_transient=True) from None

    def _retrieve(self, ocid: str) -> tuple[bytes, int]:
        client = self._acquire_client(ocid)
        try:
            bundle = client.get_secret_bundle(ocid).data
            content = base64.b64decode(bundle.secret_bundle_content.content or "", validate=True)
            return content, int(bundle.version_number)
        except Exception as cause:  # noqa: BLE001 - the exceptions of Oracle's package have no common base
            raise _describe_failure(cause, self._settings.auth) from None
        finally:
            self._clients[_region(ocid)] = client

    def _acquire_client(self, ocid: str) -> Any:
        """Return a client for the region in the OCID, or by default for the gateway's own region.

        The caller has exclusive use of it: an abandoned thread keeps its client.
        """
        if not is_installed():
            raise _VaultFailure(MISSING, INSTALL)
        region = _region(ocid)
        if (client := self._clients.pop(region, None)) is not None:
            return client
        try:
            return self._create_client(region)
        except Exception as cause:  # noqa: BLE001 - as above
            raise _identity_failure(cause, self._settings.auth) from None

    def _create_client(self, region: str) -> Any:
        oci = importlib.import_module("oci")
        if (identity := self._identity) is None:
            identity = self._identity = _IDENTITIES[self._settings.auth](oci, self._settings)
        options = dict(identity)
        if region:
            options["config"] = options["config"] | {"region": oci.regions.get_region_from_short_name(region)}
        if self._settings.endpoint is not None:
            options["service_endpoint"] = self._settings.endpoint.rstrip("/")
        # The token source retries.
        return oci.secrets.SecretsClient(
            timeout=TIMEOUT,
            retry_strategy=oci.retry.NoneRetryStrategy(),
            circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
            **options,
        )


def _region(ocid: str) -> str:
    return ocid.split(".")[3]


def is_installed() -> bool:
    """Return True if Oracle's package is installed. Do not import it."""
    return importlib.util.find_spec("oci") is not None


def _instance(oci: Any, _: OciSettings) -> dict[str, Any]:
    no_retry = oci.retry.NoneRetryStrategy()
    signers = oci.auth.signers
    signer = signers.InstancePrincipalsSecurityTokenSigner(
        retry_strategy=no_retry, federation_client_retry_strategy=no_retry
    )
    return {"config": {}, "signer": signer}


def _resource(oci: Any, _: OciSettings) -> dict[str, Any]:
    return {"config": {}, "signer": oci.auth.signers.get_resource_principals_signer()}


def _profile(oci: Any, settings: OciSettings) -> dict[str, Any]:
    return {"config": oci.config.from_file(profile_name=settings.profile or "DEFAULT")}


_IDENTITIES: dict[str, Callable[[Any, OciSettings], dict[str, Any]]] = {
    "instance_principal": _instance,
    "resource_principal": _resource,
    "config_file": _profile,
}


def _describe_failure(cause: Exception, auth: str) -> _VaultFailure:
    """Return the failure; of the response the text contains only status and error code."""
    status = getattr(cause, "status", None)
    if not isinstance(status, int):
        if isinstance(cause, ValueError | TypeError | AttributeError) and not isinstance(cause, OSError):
            return _VaultFailure("cannot be decoded: it is not base64 text", "correct its content in the Vault")
        return _VaultFailure(
            f"cannot be reached ({type(cause).__name__})", "check the network path to OCI", is_transient=True
        )
    status_and_code = f"{status} {_error_code(cause)}".rstrip()
    if status == 401:
        return _VaultFailure(
            f"is refused: OCI does not accept the gateway's identity ({status_and_code})", _IDENTITY_REMEDIES[auth]
        )
    if status == 429 or status >= 500:
        return _VaultFailure(f"is not available now ({status_and_code})", _TRANSIENT, is_transient=True)
    group = _READERS.get(auth, "the gateway's dynamic group")
    remedy = f"add a policy that allows {group} to `read secret-bundles`, or correct the OCID"
    return _VaultFailure(f"is refused ({status_and_code})", remedy)


def _identity_failure(cause: Exception, auth: str) -> _VaultFailure:
    reason = f"cannot be read: the gateway has no OCI identity by `{auth}` ({type(cause).__name__})"
    return _VaultFailure(reason, _IDENTITY_REMEDIES[auth], is_transient=True)


def _error_code(cause: Exception) -> str:
    code = str(getattr(cause, "code", ""))
    return code if re.fullmatch(r"[A-Za-z]{1,40}", code) else ""
