"""Asks a credential's identity domain: is there a way, what does it publish, does it give a token, what is in it."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pydantic import SecretStr

from gateway.checks.connect import check_connection
from gateway.checks.http_probe import exchange
from gateway.config.model import Config, Credential
from gateway.config.resolved import client_secrets
from gateway.config.secrets import Secrets, suspicious
from gateway.content.foreign_text import read_date, read_url
from gateway.diagnosis.facts import ConnectionProbe, CredentialConfig, CredentialProbe, Discovery, ProbeResponse
from gateway.errors import GatewayError, TokenRefused, TokenUnavailable
from gateway.network.dial import Origin
from gateway.oauth.grants import claims_of
from gateway.oauth.token_source import TokenSource
from gateway.proxy.routing import UpstreamUrl
from gateway.system.files import in_thread
from gateway.wiring.components import Components

UNASKED = frozenset(("secret", "certificate", "sign-in", "store", "turn", "budget"))
"""Failures on this side: the identity domain was not asked, and has nothing to tell of them."""
DISCOVERY = "/.well-known/openid-configuration"  # OpenID Connect Discovery §4

_URL = re.compile(r"https?://[!-~]{1,500}")


@dataclass(frozen=True, slots=True)
class CredentialAnswer:
    """What became of a credential; `token` is empty where there is none."""

    asked: CredentialProbe
    token: str = field(default="", repr=False)


async def check_credential(parts: Components, config: Config, name: str, *, secrets: Secrets) -> CredentialAnswer:
    """Gets a new token for a credential, once, and looks at the way and at what else its identity domain says."""
    credential = config.credentials[name]
    around, (token, reason, status) = await asyncio.gather(
        _around(parts, name, credential, secrets=secrets), _asked(parts, name, credential)
    )
    asked = await _completed(around, credential, reason=reason, skew=status["clock_skew_s"])
    return CredentialAnswer(replace(asked, life=status["expires_in_s"] or 0.0, claims=claims_of(token)), token)


async def ask_around(
    parts: Components, config: Config, name: str, *, secrets: Secrets, reason: str, skew: Any
) -> CredentialProbe:
    """The same for a credential that was refused for a known reason: all but the token is asked for."""
    credential = config.credentials[name]
    around = await _around(parts, name, credential, secrets=secrets)
    return await _completed(around, credential, reason=reason, skew=skew)


async def fetch_token(source: TokenSource, get: Callable[[], Awaitable[str]]) -> tuple[str, str, dict[str, Any]]:
    """Token, or why there is none; and the source's status; closes the source."""
    token = reason = ""
    try:
        token = await get()
    except (TokenRefused, TokenUnavailable) as error:
        reason = error.reason
    finally:
        await source.close()
    return token, reason, source.status()


def credential_config(name: str, credential: Credential, secrets: Secrets) -> CredentialConfig:
    """What the configured values look like; reads the secrets, shows none."""
    return CredentialConfig(
        name,
        grant=credential.grant,
        client_auth=credential.client_auth,
        client_id=credential.client_id,
        token_url=credential.token_url,
        scope=credential.scope or "",
        doubts=tuple(_doubts(credential, secrets)),
        client_id_doubt=_odd(credential.client_id),
    )


def _doubts(credential: Credential, secrets: Secrets) -> list[str]:
    found: list[str] = []
    for ref in client_secrets(credential):
        try:
            secret = secrets.read(ref)
        except OSError:  # what cannot be read is told by whoever asks for the token
            continue
        found.append(_doubt(secret, credential.client_id))
    return found


def _doubt(secret: SecretStr, client_id: str) -> str:
    value = secret.get_secret_value()
    if said := suspicious(secret):
        return said
    if value[:1] in {'"', "'"} and value[-1:] == value[:1]:
        return "stands in quotes, which are sent as a part of it"
    return "is the client id" if value == client_id else ""


def _odd(client_id: str) -> str:
    if any(letter.isspace() for letter in client_id):
        return "has white space in it"
    return "is a URL" if "://" in client_id else ""


Around = tuple[CredentialConfig, ConnectionProbe, Origin | None]


async def _around(parts: Components, name: str, credential: Credential, *, secrets: Secrets) -> Around:
    """What can be known of a credential without asking for a token."""
    shape, (contact, origin) = await asyncio.gather(
        in_thread(partial(credential_config, name, credential, secrets), owner=("shape", name)),
        _looked(parts, name, credential),
    )
    return shape, contact, origin


async def _completed(around: Around, credential: Credential, *, reason: str, skew: float | None) -> CredentialProbe:
    """With what the identity domain publishes, where the way is open and the failure is not on this side."""
    shape, contact, origin = around
    discovery = Discovery()
    if origin is not None and reason.partition(":")[0] not in UNASKED:
        discovery = await _discovered(origin, UpstreamUrl.parse(credential.token_url), within=credential.timeout)
    return CredentialProbe(shape, contact, discovery, reason, skew=discovery.skew if skew is None else skew)


async def _asked(parts: Components, name: str, credential: Credential) -> tuple[str, str, dict[str, Any]]:
    source = parts.credentials.token_source(name, credential)
    return await fetch_token(source, source.force_refresh)


async def _looked(parts: Components, name: str, credential: Credential) -> tuple[ConnectionProbe, Origin | None]:
    """The way to the token endpoint; the origin too, where it is open."""
    try:
        origin = await in_thread(partial(parts.credentials.token_endpoint_origin, credential), owner=("identity", name))
    except (OSError, ValueError):  # ssl.SSLError is an OSError; the token request tells which file
        base = UpstreamUrl.parse(credential.token_url)
        detail = "the files of `tls` or the proxy's password cannot be used"
        return ConnectionProbe(f"{base.scheme}://{base.authority}", step="files", detail=detail), None
    contact = await check_connection(origin, within=credential.connect_timeout)
    return contact, None if contact.step else origin


async def _discovered(origin: Origin, base: UpstreamUrl, *, within: float) -> Discovery:
    began = time.time()
    try:
        reply = await exchange(origin, "GET", DISCOVERY, host=base.authority, within=within)
    except GatewayError:
        return Discovery()
    return Discovery(reply.status, _token_endpoint(reply), _skew(reply, (began + time.time()) / 2))


def _token_endpoint(reply: ProbeResponse) -> str:
    try:
        document = json.loads(reply.text) if reply.status == 200 else {}
    except (ValueError, RecursionError):
        return ""
    said = document.get("token_endpoint") if isinstance(document, dict) else None
    if not isinstance(said, str) or _URL.fullmatch(said) is None:
        return ""
    url = read_url(said)
    return said if url is not None and url.path else ""


def _skew(reply: ProbeResponse, now: float) -> float | None:
    """Seconds that the other's clock is ahead, by the `Date` of its answer, which leaves out fractions."""
    date = read_date(reply.fields.get("date", ""))
    return None if date is None else date.timestamp() + 0.5 - now
