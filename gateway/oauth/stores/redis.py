"""A shelf in Redis, for replicas: one server, a master found by its sentinels, or a cluster.

Connections come back by themselves: a command whose connection turns out to be dead is tried once on a fresh one, and
every command here may be done twice. Entries end by Redis's own clock, in so many seconds from now.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from gateway.oauth.store import StoreDown
from gateway.oauth.stores.backend_interface import LONGEST_LEASE, MOST_BYTES
from gateway.system.files import in_thread

T = TypeVar("T")
Login = Callable[[], tuple[str, str] | tuple[str]]
"""Gives user and password, or a password alone; asked at each connection. May raise OSError or ValueError."""

ANSWER = 5.0  # seconds
REPAIRED_LEASE = 5.0  # seconds that a lease without an end gets at least: a living holder prolongs it in that time
AT_ONCE = 16  # questions, each on a connection of its own; others wait for their turn

# One step each. No more of an entry is read than an entry may have: a long one would block Redis and fill our memory.
# GETRANGE and PTTL may be forbidden to the user: then GET does, and nothing is known of a lease's end. What is no text
# is no entry and no lease: somebody else has used the name.
_HEAD = """
local function head(limit)
  local data = redis.pcall('GETRANGE', KEYS[1], 0, limit)
  if type(data) == 'string' and data ~= '' then return data end
  return redis.pcall('GET', KEYS[1])
end
"""
_READ = f"""{_HEAD}
local data = head(ARGV[1])
if type(data) == 'table' and not string.find(data.err, 'WRONGTYPE', 1, true) then return data end
if data and (type(data) ~= 'string' or #data > tonumber(ARGV[1])) then return '' end
return data
"""
# A lease that lost its end (PERSIST, a restored dump) would hold everybody off for ever: it is given one.
_CLAIM = f"""{_HEAD}
local holder = head(#ARGV[1])
if type(holder) == 'string' and holder ~= ARGV[1] then
  local left = redis.pcall('PTTL', KEYS[1])
  if type(left) == 'number' and (left == -1 or left > math.max(tonumber(ARGV[4]), tonumber(ARGV[2]))) then
    redis.call('SET', KEYS[1], holder, 'PX', math.max(tonumber(ARGV[3]), tonumber(ARGV[2])))
    return 2
  end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_REPAIRED = 2
_TAKE = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

# First match wins. Texts are ours: an answer may quote what was sent.
_TROUBLE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (exceptions.AuthenticationWrongNumberOfArgsError, "it does not take this kind of login"),
    ((exceptions.AuthenticationError, exceptions.AuthorizationError), "it refuses user or password"),
    (exceptions.NoPermissionError, "the user may not do this; it needs GET, SET, DEL and EVAL on these names"),
    (exceptions.BusyLoadingError, "it is still reading its data"),
    (exceptions.ReadOnlyError, "it is a replica that takes no writes"),
    (exceptions.OutOfMemoryError, "its memory is full"),
    (MasterNotFoundError, "no sentinel knows a master of this name"),
    (exceptions.ClusterError, "the cluster is down"),
    (exceptions.SlotNotCoveredError, "a part of the cluster is missing"),
    ((exceptions.TimeoutError, TimeoutError), "no answer in time"),
    ((exceptions.ConnectionError, exceptions.RedisClusterException, OSError), "it cannot be reached"),
    (exceptions.ResponseError, "it refuses the command"),
    (Exception, "the exchange failed"),
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is: `hosts` (name, port), or the socket `path`. With a `service` the hosts are sentinels that know
    the master of that name; with `is_cluster` they are some of a cluster.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    is_cluster: bool = False
    db: int = 0


class RedisBackend:
    """See `Backend`. `tls` checks the certificates of RedisSettings and of the sentinels; None: no TLS is spoken.

    `limit` bounds in seconds one try to connect, to one host or to several; an answer is waited for `ANSWER` at most,
    and `Sharing` waits less. `login` is for Redis, `sentinel_login` for the sentinels. `on_endless_lease` is called
    with the name of a lease that had no end and was given one.
    """

    kind = "redis"

    def __init__(
        self,
        place: RedisAddress,
        *,
        limit: float,
        login: Login | None = None,
        sentinel_login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        on_endless_lease: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._on_endless_lease = on_endless_lease
        # RESP 2 needs no words of greeting, and every server of the last ten years speaks it.
        common: dict[str, Any] = {"protocol": 2, "driver_info": None}
        # Of several hosts the first may be the dead one: time must be left to ask another.
        common["socket_connect_timeout"] = limit / max(1, len(place.hosts))
        self._client, self._sentinels = _client(place, common, login, sentinel_login)
        if tls is not None:
            for client in (self._client, *self._sentinels):
                _set_tls_context(client, tls)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def read(self, name: str) -> bytes | None:
        """See `Shelf`."""
        data = await self._told(lambda: self._client.eval(_READ, 1, name, str(MOST_BYTES)))
        return data if data is None or isinstance(data, bytes) else b""

    async def write(self, name: str, data: bytes, *, seconds: float | None) -> None:
        """See `Shelf`; as durable as this Redis makes what it acknowledges."""
        await self._told(lambda: self._client.set(name, data, px=None if seconds is None else _ms(seconds)))

    async def delete_if_equal(self, name: str, data: bytes) -> None:
        """See `Shelf`."""
        await self._told(lambda: self._client.eval(_TAKE, 1, name, data))

    async def remove(self, name: str) -> None:
        """See `Shelf`."""
        await self._told(lambda: self._client.delete(name))

    async def claim(self, name: str, *, owner: str, seconds: float) -> bool:
        """See `Shelf`."""
        times = [str(_ms(each)) for each in (seconds, REPAIRED_LEASE, LONGEST_LEASE)]
        given = await self._told(lambda: self._client.eval(_CLAIM, 1, name, owner, *times))
        if given == _REPAIRED:
            self._on_endless_lease(name)
        return bool(given == 1)

    async def release(self, name: str, *, owner: str) -> None:
        """See `Shelf`."""
        await self._told(lambda: self._client.eval(_TAKE, 1, name, owner))

    async def check(self, name: str) -> None:
        """See `Shelf`; writes, since a Redis may answer and yet take nothing."""
        await self._told(lambda: self._client.set(name, b"", px=60_000))

    async def close(self) -> None:
        """See `Shelf`."""
        for client in (self._client, *self._sentinels):
            await client.aclose()

    async def _told(self, command: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with self._turns:
                return await command()
        except Exception as cause:  # the clients let errors of their own inner workings through
            raise StoreDown(f"Redis: {_why(cause)}") from cause


class _CredentialProvider(CredentialProvider):
    """Reads user and password anew for each connection, in a thread since they may be in a file."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str, str] | tuple[str]:
        return self._login()

    async def get_credentials_async(self) -> tuple[str, str] | tuple[str]:
        return await in_thread(self._login, owner=self)


class _TlsConnection(SSLConnection):
    """Checks certificates with a ready context. The base class makes one for each connection: it reads the system's
    authorities on the loop, and trusts them besides those that are configured.
    """

    def __init__(self, *, tls_context: ssl.SSLContext, **settings: Any) -> None:
        super().__init__(**settings)
        self.ssl_context.context = tls_context


class _SentinelManagedTlsConnection(SentinelManagedConnection, _TlsConnection):
    """The same to the master that the sentinels name."""


def _set_tls_context(client: Any, context: ssl.SSLContext) -> None:
    """Have a client that is not connected yet speak TLS. The constructors take no context."""
    if isinstance(client, RedisCluster):
        nodes = client.nodes_manager
        nodes.connection_kwargs |= {"connection_class": _TlsConnection, "tls_context": context}
        for node in nodes.startup_nodes.values():
            node.connection_class = _TlsConnection
            node.connection_kwargs["tls_context"] = context
        return
    pool = client.connection_pool
    is_managed = issubclass(pool.connection_class, SentinelManagedConnection)
    pool.connection_class = _SentinelManagedTlsConnection if is_managed else _TlsConnection
    pool.connection_kwargs["tls_context"] = context


def _client(
    place: RedisAddress, common: dict[str, Any], login: Login | None, sentinel_login: Login | None
) -> tuple[Any, tuple[Any, ...]]:
    """The client, and those of the sentinels."""
    further: dict[str, Any] = {
        "socket_timeout": ANSWER,
        "retry": Retry(NoBackoff(), 1),
        "credential_provider": _CredentialProvider(login) if login else None,
    }
    if place.is_cluster:
        nodes = [ClusterNode(host, port) for host, port in place.hosts]
        return RedisCluster(startup_nodes=nodes, **common, **further), ()
    further["db"] = place.db
    if place.service:
        asking = common | {
            "socket_timeout": common["socket_connect_timeout"],
            "retry": Retry(NoBackoff(), 0),
            "credential_provider": _CredentialProvider(sentinel_login) if sentinel_login else None,
        }
        found = Sentinel(place.hosts, sentinel_kwargs=asking, **common, **further)  # type: ignore[no-untyped-call] # its constructor has no types
        return found.master_for(place.service), tuple(found.sentinels)
    if place.path:
        return Redis(unix_socket_path=place.path, **common, **further), ()
    [(host, port)] = place.hosts
    return Redis(host=host, port=port, **common, **further), ()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _why(cause: Exception) -> str:
    return next(words for kind, words in _TROUBLE if isinstance(cause, kind))
