"""Check a credential: connection to the identity domain, discovery document, token, claims."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec.structs import replace
from pydantic import SecretStr

from gateway.checks.connect import check_connection
from gateway.checks.http_probe import send_probe
from gateway.config.model import Config, CredentialSettings
from gateway.config.resolved import client_secrets
from gateway.config.secrets import SecretReader, suspicious
from gateway.content.untrusted_text import read_date, read_url
from gateway.diagnosis.facts import ConnectionProbe, CredentialConfig, CredentialProbe, Discovery, ProbeResponse
from gateway.errors import GatewayError, TokenRefused, TokenUnavailable
from gateway.network.dial import Origin
from gateway.oauth.grants import read_jwt_claims
from gateway.oauth.token_source import TokenSource
from gateway.proxy.routing import UpstreamUrl
from gateway.system.files import in_thread
from gateway.wiring.components import Components

LOCAL_FAILURES = frozenset(("secret", "certificate", "sign-in", "store", "turn", "budget"))
"""Codes of failures that prevent the token request from being sent."""
DISCOVERY_PATH = "/.well-known/openid-configuration"  # OpenID Connect Discovery §4

_URL = re.compile(r"https?://[!-~]{1,500}")


@dataclass(frozen=True, slots=True)
class CredentialResult:
    """The facts about a credential; `token` is empty if there is none."""

    probe: CredentialProbe
    token: str = field(default="", repr=False)


async def check_credential(
    components: Components, config: Config, name: str, *, secrets: SecretReader
) -> CredentialResult:
    """Get a new token for a credential; check its connection and its discovery document."""
    credential = config.credentials[name]
    setup, (token, reason, status) = await asyncio.gather(
        _probe_setup(components, name, credential, secrets=secrets), _force_fetch(components, name, credential)
    )
    probe = await _add_discovery(setup, credential, reason=reason, skew=status["clock_skew_s"])
    return CredentialResult(
        replace(probe, lifetime=status["expires_in_s"] or 0.0, claims=read_jwt_claims(token)), token
    )


async def gather_credential_facts(
    components: Components, config: Config, name: str, *, secrets: SecretReader, reason: str, skew: Any
) -> CredentialProbe:
    """Return the facts about a credential that failed for a known `reason`, without a token request."""
    credential = config.credentials[name]
    setup = await _probe_setup(components, name, credential, secrets=secrets)
    return await _add_discovery(setup, credential, reason=reason, skew=skew)


async def fetch_token(source: TokenSource, get: Callable[[], Awaitable[str]]) -> tuple[str, str, dict[str, Any]]:
    """Return a token, or the reason why there is none, and the status of the source. Close the source."""
    token = reason = ""
    try:
        token = await get()
    except (TokenRefused, TokenUnavailable) as error:
        reason = error.reason
    finally:
        await source.close()
    return token, reason, source.status()


def credential_config(name: str, credential: CredentialSettings, secrets: SecretReader) -> CredentialConfig:
    """Describe the configured values; read the secrets, but do not show them."""
    return CredentialConfig(
        name,
        grant=credential.grant,
        client_auth=credential.client_auth,
        client_id=credential.client_id,
        token_url=credential.token_url,
        scope=credential.scope or "",
        suspicious_secrets=tuple(_find_suspicious_secrets(credential, secrets)),
        suspicious_client_id=_describe_suspicious_client_id(credential.client_id),
    )


def _find_suspicious_secrets(credential: CredentialSettings, secrets: SecretReader) -> list[str]:
    found: list[str] = []
    for ref in client_secrets(credential):
        try:
            secret = secrets.read(ref)
        except OSError:  # the token request reports a secret that cannot be read
            continue
        found.append(_describe_suspicious_secret(secret, credential.client_id))
    return found


def _describe_suspicious_secret(secret: SecretStr, client_id: str) -> str:
    value = secret.get_secret_value()
    if problem := suspicious(secret):
        return problem
    if value[:1] in {'"', "'"} and value[-1:] == value[:1]:
        return "is in quotes, which are sent as a part of it"
    return "is the client id" if value == client_id else ""


def _describe_suspicious_client_id(client_id: str) -> str:
    if any(letter.isspace() for letter in client_id):
        return "has white space in it"
    return "is a URL" if "://" in client_id else ""


CredentialSetup = tuple[CredentialConfig, ConnectionProbe, Origin | None]


async def _probe_setup(
    components: Components, name: str, credential: CredentialSettings, *, secrets: SecretReader
) -> CredentialSetup:
    """Return the facts about a credential that need no token request."""
    config, (connection, origin) = await asyncio.gather(
        in_thread(partial(credential_config, name, credential, secrets), owner=("config", name)),
        _check_connection(components, name, credential),
    )
    return config, connection, origin


async def _add_discovery(
    setup: CredentialSetup, credential: CredentialSettings, *, reason: str, skew: float | None
) -> CredentialProbe:
    """Add the discovery document, if the connection works and the token request was sent."""
    config, connection, origin = setup
    discovery = Discovery()
    if origin is not None and reason.partition(":")[0] not in LOCAL_FAILURES:
        discovery = await _discover(origin, UpstreamUrl.parse(credential.token_url), within=credential.timeout)
    return CredentialProbe(config, connection, discovery, reason, skew=discovery.skew if skew is None else skew)


async def _force_fetch(
    components: Components, name: str, credential: CredentialSettings
) -> tuple[str, str, dict[str, Any]]:
    source = components.credential_builder.token_source(name, credential)
    return await fetch_token(source, source.force_refresh)


async def _check_connection(
    components: Components, name: str, credential: CredentialSettings
) -> tuple[ConnectionProbe, Origin | None]:
    """Check the connection to the token endpoint; return its origin, too, if the connection works."""
    try:
        origin = await in_thread(
            partial(components.credential_builder.token_endpoint_origin, credential), owner=("identity", name)
        )
    except (OSError, ValueError):  # ssl.SSLError is an OSError; the token request names the file
        base = UpstreamUrl.parse(credential.token_url)
        detail = "the files of `tls` or the proxy's password cannot be used"
        return ConnectionProbe(f"{base.scheme}://{base.authority}", step="files", detail=detail), None
    connection = await check_connection(origin, within=credential.connect_timeout)
    return connection, None if connection.step else origin


async def _discover(origin: Origin, base: UpstreamUrl, *, within: float) -> Discovery:
    started_at = time.time()
    try:
        response = await send_probe(origin, "GET", DISCOVERY_PATH, host=base.authority, within=within)
    except GatewayError:
        return Discovery()
    return Discovery(response.status, _token_endpoint(response), _clock_skew(response, (started_at + time.time()) / 2))


def _token_endpoint(response: ProbeResponse) -> str:
    try:
        document = json.loads(response.text) if response.status == 200 else {}
    except (ValueError, RecursionError):
        return ""
    endpoint = document.get("token_endpoint") if isinstance(document, dict) else None
    if not isinstance(endpoint, str) or _URL.fullmatch(endpoint) is None:
        return ""
    url = read_url(endpoint)
    return endpoint if url is not None and url.path else ""


def _clock_skew(response: ProbeResponse, now: float) -> float | None:
    """Return by how many seconds the server's clock is ahead, by the `Date` of the response (whole seconds)."""
    date = read_date(response.fields.get("date", ""))
    return None if date is None else date.timestamp() + 0.5 - now
