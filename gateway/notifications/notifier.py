"""Sends notifications: one for each condition and hook, at most once in `repeat`, by one process of all replicas."""

import asyncio
import hashlib
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from uuid import uuid4

from gateway.config.model import Config
from gateway.config.notify_model import NotifySettings
from gateway.notifications.conditions import Condition
from gateway.notifications.hook_client import HookClient, HookFailed
from gateway.notifications.notification import notification
from gateway.oauth.clock import SystemClock
from gateway.oauth.store import Store, StoreDown
from gateway.observe.episodes import EventDeduplicator
from gateway.observe.log import log_event
from gateway.system.files import in_thread
from gateway.wiring.secret_reader import build_secret_reader, secret_servers
from gateway.wiring.token_stores import TokenStores, load_store_files

log = logging.getLogger("gateway.notifications")

POLL_INTERVAL = 2.0
"""Seconds between two looks at the conditions; the circuit of a service stays open for longer."""
MAX_WAITING = 100
"""Maximum notifications that wait for one hook."""
CLAIM_INTERVAL = 30.0
"""Most seconds between two tries to claim a notification that another replica has sent, or this one failed to send."""

NotifyResult = Literal["ok", "failed", "dropped"]
RESULTS: tuple[NotifyResult, ...] = ("ok", "failed", "dropped")
ReadConditions = Callable[[], Awaitable[list[Condition]]]


@dataclass(frozen=True, slots=True)
class _Claim:
    """The right of this process to send one notification."""

    key: str
    owner: str


@dataclass(slots=True)
class _Hook:
    label: str
    settings: NotifySettings
    client: HookClient
    queue: asyncio.Queue[tuple[Condition, _Claim]] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))
    next_claims: dict[str, float] = field(default_factory=dict)


class Notifier:
    """The hooks of one configuration, from construction inside the loop to `close`. `counts` has the notifications by
    label of the hook and result; it outlives this object.
    """

    def __init__(
        self,
        config: Config,
        read_conditions: ReadConditions,
        *,
        environ: Mapping[str, str],
        counts: Counter[tuple[str, NotifyResult]],
    ) -> None:
        self._config = config
        self._read_conditions = read_conditions
        self._counts = counts
        self._clock = SystemClock()
        self._secrets = build_secret_reader(environ, secret_servers(config))
        self._stores = TokenStores(self._clock)
        self._store: Store = self._stores.memory
        self._episodes = EventDeduplicator(self._clock.monotonic)
        self._console_url = None if config.console is None else config.console.url
        self._gateway = config.public_url or socket.gethostname()
        self._hooks = [
            _Hook(f"notify[{index}]", settings, HookClient(settings, self._secrets, environ))
            for index, settings in enumerate(config.notify)
        ]
        for hook in self._hooks:
            for result in RESULTS:
                counts.setdefault((hook.label, result), 0)
        self._tasks = [
            asyncio.create_task(self._watch()),
            *(asyncio.create_task(self._send(hook)) for hook in self._hooks),
        ]

    async def close(self) -> None:
        """Stop. Notifications that wait are dropped: another replica, or the next start, sends them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stores.close()

    async def _watch(self) -> None:
        is_open = False
        while True:
            try:
                if not is_open:
                    await self._open_store()
                    is_open = True
                conditions = await self._read_conditions()
                for hook in self._hooks:
                    await self._claim_all(hook, conditions)
            except Exception as error:  # noqa: BLE001 - it must not end the notifications; it is logged
                if self._episodes.starts_episode("watch"):
                    message = "cannot find out what to notify; the gateway tries again"
                    log_event(log, logging.ERROR, "notification-failed", message, exc=error)
            await asyncio.sleep(POLL_INTERVAL)

    async def _open_store(self) -> None:
        """Use the token store of the configuration. Raise OSError if its keys cannot be read."""
        state = self._config.state
        files = await in_thread(partial(load_store_files, state, self._secrets), owner=self)
        self._store = self._stores.store(state, self._secrets, files)

    async def _claim_all(self, hook: _Hook, conditions: list[Condition]) -> None:
        """Queue what is due for a hook."""
        now, wall, repeat = self._clock.monotonic(), self._clock.wall(), hook.settings.repeat
        for condition in conditions:
            key = _lease_key(hook, condition)
            # Without a new observation in this time, nothing is known: an idle credential may work by now.
            is_recent = wall - condition.at < repeat
            if condition.event not in hook.settings.on or not is_recent or hook.next_claims.get(key, now) > now:
                continue
            claim = _Claim(key, uuid4().hex)
            if not await _claim(self._store, claim, repeat):
                hook.next_claims[key] = now + min(CLAIM_INTERVAL, repeat / 10)
            elif hook.queue.full():
                self._counts[hook.label, "dropped"] += 1
                await _release(self._store, claim)
                hook.next_claims[key] = now + CLAIM_INTERVAL
            else:
                hook.next_claims[key] = now + repeat
                hook.queue.put_nowait((condition, claim))
        hook.next_claims = {key: at for key, at in hook.next_claims.items() if at > now}

    async def _send(self, hook: _Hook) -> None:
        while True:
            condition, claim = await hook.queue.get()
            document = notification(condition, gateway=self._gateway, console_url=self._console_url)
            about = {"hook": hook.label, "about": condition.event, condition.kind: condition.name}
            try:
                await hook.client.send(document)
            except HookFailed as failure:
                self._counts[hook.label, "failed"] += 1
                if self._episodes.starts_episode(hook.label):
                    message = f"a hook did not take a notification: {failure}. Check `{hook.label}.url` and the hook"
                    log_event(log, logging.WARNING, "notification-failed", message, exc=None, **about)
                await _release(self._store, claim)
                hook.next_claims[claim.key] = self._clock.monotonic() + CLAIM_INTERVAL
            else:
                self._counts[hook.label, "ok"] += 1
                log_event(log, logging.INFO, "notification-sent", "a hook was called", exc=None, **about)


def _lease_key(hook: _Hook, condition: Condition) -> str:
    """Return a key that replicas with the same configuration share. It depends on the reference of the URL, not on the
    URL.
    """
    parts = (hook.label, hook.settings.url.kind, hook.settings.url.target, condition.event, condition.name)
    return f"notify:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


async def _claim(store: Store, claim: _Claim, seconds: float) -> bool:
    try:
        return await store.claim_lease(claim.key, owner=claim.owner, seconds=seconds)
    except StoreDown:
        return True  # a notification too many is better than none


async def _release(store: Store, claim: _Claim) -> None:
    try:
        await store.release_lease(claim.key, owner=claim.owner)
    except StoreDown:
        return  # the lease ends by itself
