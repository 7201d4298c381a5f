"""Read secrets of OCI Vault with Oracle's client, which is imported at the first read.

Oracle's client blocks, and its timeouts apply to single steps: they do not bound a slow response.
"""

import base64
import importlib
import importlib.util
import re
import time
from collections.abc import Callable
from typing import Any

from gateway.config.issue import StoreFailure
from gateway.config.model import OciSettings
from gateway.config.secret_cache import SecretCache, SecretVersion

TIMEOUT = (5.0, 10.0)  # seconds: to connect, and between two bytes of the response
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


class OciVault(SecretCache[str]):
    """Secrets of OCI Vault by OCID; the region of the OCID is the server."""

    transient_remedy = _TRANSIENT

    def __init__(self, settings: OciSettings, *, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(settings.refresh, now)
        self._settings = settings
        self._clients: dict[str, Any] = {}  # by region: clients that are not in use
        self._identity: dict[str, Any] | None = None

    def describe(self, key: str) -> str:
        """Return the name of the secret in a message."""
        return f"the secret `{key}` of OCI Vault"

    def group(self, key: str) -> str:
        """Return the region of the secret."""
        return _region(key)

    def abandon(self) -> None:
        """Forget the identity: the abandoned thread may hold it."""
        self._identity = None

    def retrieve(self, key: str) -> SecretVersion:
        """Read the current version. Raise StoreFailure."""
        client = self._acquire_client(key)
        try:
            bundle = client.get_secret_bundle(key).data
            content = base64.b64decode(bundle.secret_bundle_content.content or "", validate=True)
            created = bundle.time_created
            return SecretVersion(content, int(bundle.version_number), created.timestamp() if created else None)
        except Exception as cause:  # noqa: BLE001 - the exceptions of Oracle's package have no common base
            raise _describe_failure(cause, self._settings.auth) from None
        finally:
            self._clients[_region(key)] = client

    def _acquire_client(self, ocid: str) -> Any:
        """Return a client for the region in the OCID, or by default for the gateway's own region.

        The caller has exclusive use of it: an abandoned thread keeps its client.
        """
        if not is_installed():
            raise StoreFailure(MISSING, INSTALL)
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


def _describe_failure(cause: Exception, auth: str) -> StoreFailure:
    """Return the failure; of the response the text contains only status and error code."""
    status = getattr(cause, "status", None)
    if not isinstance(status, int):
        if isinstance(cause, ValueError | TypeError | AttributeError) and not isinstance(cause, OSError):
            return StoreFailure("cannot be decoded: it is not base64 text", "correct its content in the Vault")
        return StoreFailure(
            f"cannot be reached ({type(cause).__name__})", "check the network path to OCI", is_transient=True
        )
    status_and_code = f"{status} {_error_code(cause)}".rstrip()
    if status == 401:
        return StoreFailure(
            f"is refused: OCI does not accept the gateway's identity ({status_and_code})", _IDENTITY_REMEDIES[auth]
        )
    if status == 429 or status >= 500:
        return StoreFailure(f"is not available now ({status_and_code})", _TRANSIENT, is_transient=True)
    group = _READERS.get(auth, "the gateway's dynamic group")
    remedy = f"add a policy that allows {group} to `read secret-bundles`, or correct the OCID"
    return StoreFailure(f"is refused ({status_and_code})", remedy)


def _identity_failure(cause: Exception, auth: str) -> StoreFailure:
    reason = f"cannot be read: the gateway has no OCI identity by `{auth}` ({type(cause).__name__})"
    return StoreFailure(reason, _IDENTITY_REMEDIES[auth], is_transient=True)


def _error_code(cause: Exception) -> str:
    code = str(getattr(cause, "code", ""))
    return code if re.fullmatch(r"[A-Za-z]{1,40}", code) else ""
