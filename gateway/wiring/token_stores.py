"""From `state:` to the store that it asks for: memory, a file or a Redis; watched, and kept while nothing changes.

The libraries of file and Redis are loaded only here, and only when they are used: they would double the start.
"""

import asyncio
import errno
import logging
import ssl
from dataclasses import dataclass, field
from functools import partial

from gateway.config.redis_url import parse_redis_url
from gateway.config.secrets import Secrets
from gateway.config.state_model import RedisSettings, State
from gateway.config.strict_model import SecretRef
from gateway.oauth.clock import Clock
from gateway.oauth.store import Store, StoreDown, StoreHealth
from gateway.oauth.stores.backend_interface import Backend
from gateway.oauth.stores.fallback import PATIENCE, FallbackStore, SharedStore
from gateway.oauth.stores.memory import MemoryStore
from gateway.observe.log import log_event
from gateway.system.files import MAX_BYTES, in_thread, read_file

log = logging.getLogger("gateway.store")


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """What `load_store_files` makes of the files that `state` names: the keys that encrypt entries, the authorities
    (PEM) of Redis.
    """

    keys: tuple[bytes, ...] = field(default=(), repr=False)
    ca: bytes = b""
    tls: ssl.SSLContext | None = field(default=None, compare=False, repr=False)
    """What checks the certificates of Redis; None where it speaks no TLS. It is made of `ca`."""


KnownStore = tuple[State, Secrets, StoreFiles]
"""What a store was made of: settings, where its secrets are, keys and authorities."""


def load_store_files(state: State | None, secrets: Secrets) -> StoreFiles:
    """Read the files that a store needs, and import its libraries; in a thread where callers are served. Raises OSError
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
    """Return a context that trusts only the authorities in `ca` (PEM), or those of the system. Raises OSError for text
    that holds none.
    """
    try:
        context = ssl.create_default_context(cadata=None if ca is None else ca.decode("ascii", "ignore") or " ")
    except ssl.SSLError as cause:
        raise OSError(errno.EINVAL, "`state.redis.tls.ca` holds no certificates in PEM") from cause
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class TokenStores:
    """Stores by what they were made of, `memory` behind all of them: tokens are kept when the store changes.

    Made inside the loop.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stores: list[tuple[KnownStore, FallbackStore]] = []
        self.memory = MemoryStore(clock)

    def store(self, state: State | None, secrets: Secrets, files: StoreFiles) -> Store:
        """The store that the configuration asks for; the same one as long as settings, keys and authorities are.

        A store that cannot be reached is no error. Opens no file.
        """
        if state is None:
            return self.memory
        known = state, secrets, files
        for made_of, store in self._stores:
            if made_of == known:
                return store
        encrypted = _encrypted(state, files, clock=self._clock, secrets=secrets)
        made = FallbackStore(encrypted, local=self.memory, watch=StoreEventLogger(), limit=state.timeout)
        self._stores.append((known, made))
        return made

    async def retire(self, store: Store) -> None:
        """Closes one that is no longer asked for."""
        self._stores = [(known, other) for known, other in self._stores if other is not store]
        if store is not self.memory:
            await store.close()

    async def close(self) -> None:
        """Closes all."""
        for _, store in tuple(self._stores):
            await self.retire(store)


class StoreEventLogger:
    """Tells the log how the store does."""

    def store_down(self, why: str) -> None:
        """The gateway goes on by itself."""
        told = f"tokens are no longer shared, the gateway goes on by itself: {why}"
        log_event(log, logging.WARNING, "store-down", told)

    def store_up(self) -> None:
        """The store is shared again."""
        log_event(log, logging.INFO, "store-up", "tokens are shared again")

    def unreadable(self, name: str) -> None:
        """An entry is passed over."""
        told = (
            "an entry of the store cannot be read and is passed over; if a key was taken from `state.keys`, put it back"
        )
        log_event(log, logging.WARNING, "store-unreadable", told, entry=name)

    def endless_lease(self, name: str) -> None:
        """A lease without an end was given one."""
        message = (
            "a lease of the store had no end, and was given one; see who changes its keys (PERSIST, a restored dump)"
        )
        log_event(log, logging.WARNING, "store-lease-endless", message, entry=name)


async def open_store(state: State, *, clock: Clock, secrets: Secrets) -> StoreHealth:
    """Whether the store can be read and written now. Raises OSError as `load_store_files` does."""
    files = await in_thread(partial(load_store_files, state, secrets), owner="state")
    store = _encrypted(state, files, clock=clock, secrets=secrets)
    try:
        async with asyncio.timeout(PATIENCE):
            await store.check()
    except StoreDown as down:
        return StoreHealth(ok=False, kind=store.health().kind, why=str(down))
    except TimeoutError:
        return StoreHealth(ok=False, kind=store.health().kind, why="no answer in time")
    finally:
        await store.close()
    return store.health()


def _import_libraries(state: State) -> None:
    """Load what `_sealed` imports: importing opens files too."""
    from gateway.oauth.stores import encrypted  # noqa: F401, PLC0415 - used in `_sealed`

    if state.redis is not None:
        from gateway.oauth.stores import redis  # noqa: F401, PLC0415 - used in `_redis`
    else:
        from gateway.oauth.stores import file  # noqa: F401, PLC0415 - used in `_shelf`


def _encrypted(state: State, files: StoreFiles, *, clock: Clock, secrets: Secrets) -> SharedStore:
    from gateway.oauth.stores.encrypted import PREFIX, EncryptedStore  # noqa: PLC0415 - and so does this
    from gateway.oauth.stores.entry_cipher import EntryCipher  # noqa: PLC0415 - brings cryptography

    prefix = PREFIX if state.redis is None else state.redis.prefix
    shelf = _backend(state, clock, secrets, tls=files.tls)
    return EncryptedStore(shelf, seal=EntryCipher(files.keys), clock=clock, watch=StoreEventLogger(), prefix=prefix)


def _backend(state: State, clock: Clock, secrets: Secrets, *, tls: ssl.SSLContext | None) -> Backend:
    if state.redis is not None:
        return _redis(state.redis, limit=state.timeout, secrets=secrets, tls=tls)
    from gateway.oauth.stores.file import FileBackend  # noqa: PLC0415 - brings sqlite3

    assert state.path is not None
    return FileBackend(state.path, clock=clock)


def _redis(redis: RedisSettings, *, limit: float, secrets: Secrets, tls: ssl.SSLContext | None) -> Backend:
    from gateway.oauth.stores.redis import RedisAddress, RedisBackend  # noqa: PLC0415 - brings redis

    place = parse_redis_url(redis.url)
    sentinel = redis.sentinel
    return RedisBackend(
        RedisAddress(place.hosts, place.path, service=place.service, is_cluster=place.is_cluster, db=place.db),
        limit=limit,
        login=partial(_login, redis.username, redis.password, secrets) if redis.password else None,
        sentinel_login=partial(_login, sentinel.username, sentinel.password, secrets) if sentinel else None,
        tls=tls,
        on_endless_lease=StoreEventLogger().endless_lease,
    )


def _login(username: str | None, password: SecretRef, secrets: Secrets) -> tuple[str, str] | tuple[str]:
    """As Redis takes it: the password alone where there is no user. Raises SecretProblem."""
    secret = secrets.read(password).get_secret_value()
    return (secret,) if username is None else (username, secret)
