"""One-time links by which a person without a login of the console signs in for one credential.

An invite is an entry of the store of the running gateway, so that the command line and all replicas share it: under a
hash of the random token of its link, as long as it is open. Redeeming it claims a lease, which only one call can do.
"""

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from uuid import uuid4

from gateway.config.model import Config
from gateway.oauth.clock import Clock
from gateway.oauth.lifetime import Token
from gateway.oauth.store import Store
from gateway.signin.authorization_response import NotSignedIn

INVITE_LIFETIME = 1800.0
"""Seconds that an invite is open."""
MAX_OPEN_INVITES = 8
"""Open invites of one credential."""
INVITE_PATH = "/console/invite/"
_MARGIN = 60.0  # seconds that a lease outlives the entry, over replicas whose clocks differ
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_TOO_MANY = "Use one of them, or wait until one ends: each is open for 30 minutes."
_STORE_REMEDY = "Restore the store that `state` names, and try again."
_NEW_INVITE = "Ask the person who sent it for another one."


@dataclass(frozen=True, slots=True)
class Invite:
    """An open invite: its credential, who invited, and the number of its place among the open ones."""

    credential: str
    invited_by: str
    place: int


def invite_problem(config: Config) -> str:
    """Return why no invite can be made; empty if one can."""
    if config.console is None or config.console.url is None:
        return "an invite is a link to the console; add `console: {url: URL}`, the URL that people type"
    return ""


def invite_url(config: Config, token: str) -> str:
    """Return the link of an invite."""
    assert config.console is not None
    assert config.console.url is not None
    return f"{config.console.url.rstrip('/')}{INVITE_PATH}{token}"


def hash_invite(token: str) -> str | None:
    """Return what identifies an invite without opening it; None for a text that is the token of none."""
    return hashlib.sha256(token.encode()).hexdigest() if _TOKEN.fullmatch(token) else None


async def create_invite(store: Store, credential: str, invited_by: str, *, clock: Clock) -> str:
    """Return the token of a new invite, 256 random bits. Raise NotSignedIn if too many are open, or without a store."""
    token = secrets.token_urlsafe(32)
    token_hash = hash_invite(token)
    assert token_hash is not None
    place = await _claim_place(store, credential, token_hash)
    invite = json.dumps({"credential": credential, "invited_by": invited_by, "place": place})
    end = clock.monotonic() + INVITE_LIFETIME
    await store.put_token(
        _entry_key(token_hash),
        Token(
            invite,
            obtained_at=end - INVITE_LIFETIME,
            stale_at=end,
            usable_until=end,
            usable_until_wall=clock.wall() + INVITE_LIFETIME,
        ),
    )
    _require_store(store)
    return token


async def find_invite(store: Store, token_hash: str) -> Invite:
    """Return the open invite with this hash. Raise NotSignedIn if there is none, or without a store."""
    entry = await store.get_token(_entry_key(token_hash))
    _require_store(store)
    if entry is None:
        raise _ended()
    document = json.loads(entry.value)
    return Invite(document["credential"], document["invited_by"], document["place"])


async def redeem_invite(store: Store, token_hash: str) -> Invite:
    """End the open invite with this hash, and return it: to one call only. Raise as `find_invite` does."""
    invite, key = await find_invite(store, token_hash), _entry_key(token_hash)
    is_first = await store.claim_lease(key, owner=uuid4().hex, seconds=INVITE_LIFETIME + _MARGIN)
    _require_store(store)  # a lease in memory alone proves nothing
    if not is_first:
        raise _ended()
    if (entry := await store.get_token(key)) is not None:
        await store.delete_token(key, entry.value)
    await store.release_lease(_place_key(invite.credential, invite.place), owner=token_hash)
    return invite


async def _claim_place(store: Store, credential: str, token_hash: str) -> int:
    for place in range(MAX_OPEN_INVITES):
        key = _place_key(credential, place)
        if await store.claim_lease(key, owner=token_hash, seconds=INVITE_LIFETIME):
            return place
    raise NotSignedIn(f"{MAX_OPEN_INVITES} invites for {credential} are open", _TOO_MANY)


def _require_store(store: Store) -> None:
    """Raise NotSignedIn if the store has continued with the memory of this process, which others do not see."""
    health = store.health()
    if not health.ok:
        raise NotSignedIn(f"the store of the invites cannot be used: {health.why}", _STORE_REMEDY)


def _entry_key(token_hash: str) -> str:
    return f"invite:{token_hash}"


def _place_key(credential: str, place: int) -> str:
    return f"invite:{hashlib.sha256(credential.encode()).hexdigest()}:{place}"


def _ended() -> NotSignedIn:
    return NotSignedIn("this invite was used before, has expired, or never existed", _NEW_INVITE)
