"""From the setting `state` to a store: memory, a file or Redis; its events go to the log.

The libraries of file and Redis are imported only here, and only when they are used: they would double the start time.
"""

import asyncio
import errno
import logging
import ssl
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gateway.config.redis_url import parse_redis_url
from gateway.config.secrets import SecretReader
from gateway.config.state_model import RedisSettings, StateSettings
from gateway.config.strict_model import SecretRef
from gateway.oauth.clock import Clock
from gateway.oauth.store import Store, StoreDown, StoreHealth
from gateway.oauth.stores.backend_interface import Backend
from gateway.oauth.stores.fallback import DURABLE_TIMEOUT, FallbackStore, SharedStore
from gateway.oauth.stores.memory import MemoryStore
from gateway.observe.log import log_event
from gateway.system.files import MAX_BYTES, in_thread, read_file

if TYPE_CHECKING:
    from gateway.oauth.stores.redis import RedisBackend

log = logging.getLogger("gateway.store")


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """The content of the files that `state` names: the keys that encrypt entries, the authorities (PEM) of Redis."""

    keys: tuple[bytes, ...] = field(default=(), repr=False)
    ca: bytes = b""
    tls: ssl.SSLContext | None = field(default=None, compare=False, repr=False)
    """Verifies the certificates of Redis with `ca`; None without TLS."""


StoreIdentity = tuple[StateSettings, SecretReader, StoreFiles]
"""Settings, secrets and files of a store: stores with equal ones are the same."""


def load_store_files(state: StateSettings | None, secrets: SecretReader) -> StoreFiles:
    """Read the files that a store needs, and import its libraries; in a thread where callers are served. Raise OSError
    for keys or authorities that cannot be read.
    """
    if state is None:
        return StoreFiles()
    _import_libraries(state)
    keys = tuple(secrets.sealing_key(ref) for ref in state.keys)
    if state.redis is None or not parse_redis_url(state.redis.url).is_tls:
        return StoreFiles(keys)
    path = state.redis.tls.ca if state.redis.tls is not None else None
    ca = read_file(path, MAX_BYTES) if path is not None else b""
    return StoreFiles(keys, ca, _tls_context(ca if path is not None else None))


def _tls_context(ca: bytes | None) -> ssl.SSLContext:
    """Return a context that trusts only the authorities in `ca` (PEM), or those of the system. Raise OSError if `ca`
    contains none.
    """
    try:
        context = ssl.create_default_context(cadata=None if ca is None else ca.decode("ascii", "ignore") or " ")
    except ssl.SSLError as cause:
        raise OSError(errno.EINVAL, "`state.redis.tls.ca` contains no certificates in PEM") from cause
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class TokenStores:
    """The open stores. All share `memory`, so that tokens survive a change of store. Construct it inside the loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stores: list[tuple[StoreIdentity, FallbackStore]] = []
        self.memory = MemoryStore(clock)

    def store(self, state: StateSettings | None, secrets: SecretReader, files: StoreFiles) -> Store:
        """Return the store for these settings; the same one for equal settings, keys and authorities. Opens no file.

        A store that cannot be reached is no error.
        """
        if state is None:
            return self.memory
        identity = state, secrets, files
        for known, store in self._stores:
            if known == identity:
                return store
        encrypted = _encrypted(state, files, clock=self._clock, secrets=secrets)
        fallback = FallbackStore(encrypted, local=self.memory, events=StoreEventLogger(), timeout=state.timeout)
        self._stores.append((identity, fallback))
        return fallback

    async def retire(self, store: Store) -> None:
        """Close a store that is no longer used."""
        self._stores = [(known, other) for known, other in self._stores if other is not store]
        if store is not self.memory:
            await store.close()

    async def close(self) -> None:
        """Close all stores."""
        for _, store in tuple(self._stores):
            await self.retire(store)


class StoreEventLogger:
    """Logs the events of a store."""

    def on_store_down(self, why: str) -> None:
        """Log that the gateway continues with tokens in memory."""
        message = f"token store unavailable; continuing with tokens in memory: {why}"
        log_event(log, logging.WARNING, "store-down", message)

    def on_store_up(self) -> None:
        """Log that tokens are shared again."""
        log_event(log, logging.INFO, "store-up", "tokens are shared again")

    def on_unreadable_entry(self, name: str) -> None:
        """Log that an entry is ignored."""
        message = (
            "an entry of the store cannot be read and is not used; if a key was removed from `state.keys`, restore it"
        )
        log_event(log, logging.WARNING, "store-unreadable", message, entry=name)

    def on_endless_lease(self, name: str) -> None:
        """Log that a lease without an end got one."""
        message = "a lease of the store had no end, and got one; check what changes its keys (PERSIST, a restored dump)"
        log_event(log, logging.WARNING, "store-lease-endless", message, entry=name)


async def open_store(state: StateSettings, *, clock: Clock, secrets: SecretReader) -> StoreHealth:
    """Return whether the store can be read and written now. Raise OSError as `load_store_files`."""
    files = await in_thread(partial(load_store_files, state, secrets), owner="state")
    store = _encrypted(state, files, clock=clock, secrets=secrets)
    try:
        async with asyncio.timeout(DURABLE_TIMEOUT):
            await store.check()
    except StoreDown as down:
        return StoreHealth(ok=False, kind=store.health().kind, why=str(down))
    except TimeoutError:
        return StoreHealth(ok=False, kind=store.health().kind, why="no answer in time")
    finally:
        await store.close()
    return store.health()


def _import_libraries(state: StateSettings) -> None:
    """Import the libraries in the thread: an import opens files too."""
    from gateway.oauth.stores import encrypted  # noqa: F401, PLC0415 - for `_encrypted`

    if state.redis is not None:
        from gateway.oauth.stores import redis  # noqa: F401, PLC0415 - for `_redis`
    else:
        from gateway.oauth.stores import file  # noqa: F401, PLC0415 - for `_backend`


def _encrypted(state: StateSettings, files: StoreFiles, *, clock: Clock, secrets: SecretReader) -> SharedStore:
    from gateway.oauth.stores.encrypted import PREFIX, EncryptedStore  # noqa: PLC0415 - imports cryptography
    from gateway.oauth.stores.entry_cipher import EntryCipher  # noqa: PLC0415 - imports cryptography

    prefix = PREFIX if state.redis is None else state.redis.prefix
    backend = _backend(state, clock, secrets, tls=files.tls)
    cipher, reporter = EntryCipher(files.keys), StoreEventLogger()
    return EncryptedStore(backend, cipher=cipher, clock=clock, reporter=reporter, prefix=prefix)


def _backend(state: StateSettings, clock: Clock, secrets: SecretReader, *, tls: ssl.SSLContext | None) -> Backend:
    if state.redis is not None:
        return _redis(state.redis, timeout=state.timeout, secrets=secrets, tls=tls)
    from gateway.oauth.stores.file import FileBackend  # noqa: PLC0415 - imports sqlite3

    assert state.path is not None
    return FileBackend(state.path, clock=clock)


class RedisStore(Protocol):
    """A Redis that runs scripts."""

    async def run_script(self, script: str, name: str, arguments: list[str]) -> object:
        """Run a Lua script on one key, as one step. Raise StoreDown."""

    async def close(self) -> None:
        """Close all connections."""


def open_redis(state: StateSettings, *, secrets: SecretReader, files: StoreFiles) -> RedisStore:
    """Return the Redis of `state`, on connections of its own. Opens no file."""
    assert state.redis is not None
    return _redis(state.redis, timeout=state.timeout, secrets=secrets, tls=files.tls)


def _redis(
    redis: RedisSettings, *, timeout: float, secrets: SecretReader, tls: ssl.SSLContext | None
) -> "RedisBackend":
    from gateway.oauth.stores.redis import RedisAddress, RedisBackend  # noqa: PLC0415 - imports redis

    url = parse_redis_url(redis.url)
    sentinel = redis.sentinel
    return RedisBackend(
        RedisAddress(url.hosts, url.path, service=url.service, is_cluster=url.is_cluster, db=url.db),
        connect_timeout=timeout,
        login=partial(_login, redis.username, redis.password, secrets) if redis.password else None,
        sentinel_login=partial(_login, sentinel.username, sentinel.password, secrets) if sentinel else None,
        tls=tls,
        on_endless_lease=StoreEventLogger().on_endless_lease,
    )


def _login(username: str | None, password: SecretRef, secrets: SecretReader) -> tuple[str, str] | tuple[str]:
    """Return user and password; the password alone without a user. Raise SecretProblem."""
    secret = secrets.read(password).get_secret_value()
    return (secret,) if username is None else (username, secret)
