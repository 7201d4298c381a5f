"""A backend in Redis, for replicas: one server, a master that sentinels name, or a cluster.

A command whose connection is dead is retried once on a new one, so every command here must be safe to run twice.
Entries expire by Redis's own clock.
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
from gateway.oauth.stores.backend_interface import MAX_ENTRY_BYTES, MAX_LEASE
from gateway.system.files import in_thread

T = TypeVar("T")
Login = Callable[[], tuple[str, str] | tuple[str]]
"""Return user and password, or a password alone, for each connection. May raise OSError or ValueError."""

ANSWER_TIMEOUT = 5.0  # seconds
REPAIRED_LEASE = 5.0  # minimum seconds of a lease that had no end: a live holder extends it within that time
MAX_CONCURRENT = 16  # commands, each on its own connection; others wait

# Each script is one step. It reads at most the largest permitted entry: a longer one would block Redis and fill memory.
# The user may lack the permission for GETRANGE and PTTL: then GET is used, and the end of a lease is unknown. A value
# that is not a string is neither an entry nor a lease: another program uses the name.
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
# A lease that lost its end (PERSIST, a restored dump) would block all others for ever: it gets a new end.
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
_DELETE_IF_EQUAL = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

# The first match wins. No text of Redis is shown: it may quote what was sent.
_ERROR_TEXTS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (exceptions.AuthenticationWrongNumberOfArgsError, "it does not accept this kind of login"),
    ((exceptions.AuthenticationError, exceptions.AuthorizationError), "it refuses the user or the password"),
    (exceptions.NoPermissionError, "the user lacks a permission; it needs GET, SET, DEL and EVAL on these names"),
    (exceptions.BusyLoadingError, "it is still reading its data"),
    (exceptions.ReadOnlyError, "it is a read-only replica"),
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
    """The address of Redis: `hosts` (name, port), or the socket `path`. With a `service` the hosts are sentinels that
    know the master of that name; with `is_cluster` they are nodes of a cluster.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    is_cluster: bool = False
    db: int = 0


class RedisBackend:
    """A `Backend` in Redis. `tls` verifies the certificates of Redis and of the sentinels; None: without TLS.

    `connect_timeout` (seconds) bounds one attempt to connect, to one host or to several; an answer may take at most
    `ANSWER_TIMEOUT`, and `FallbackStore` waits less. `login` is for Redis, `sentinel_login` for the sentinels.
    `on_endless_lease` is called with the name of a lease that had no end and got one.
    """

    kind = "redis"

    def __init__(
        self,
        address: RedisAddress,
        *,
        connect_timeout: float,
        login: Login | None = None,
        sentinel_login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        on_endless_lease: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._on_endless_lease = on_endless_lease
        # RESP 2 needs no HELLO, and every server of the last ten years supports it.
        common: dict[str, Any] = {"protocol": 2, "driver_info": None}
        # The first of several hosts may be dead: leave time for the next one.
        common["socket_connect_timeout"] = connect_timeout / max(1, len(address.hosts))
        self._client, self._sentinels = _build_client(address, common, login, sentinel_login)
        if tls is not None:
            for client in (self._client, *self._sentinels):
                _set_tls_context(client, tls)
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def read(self, name: str) -> bytes | None:
        """Return what was written last."""
        data = await self._execute(lambda: self._client.eval(_READ, 1, name, str(MAX_ENTRY_BYTES)))
        return data if data is None or isinstance(data, bytes) else b""

    async def write(self, name: str, data: bytes, *, seconds: float | None) -> None:
        """Write an entry, as durable as Redis makes what it acknowledges."""
        await self._execute(lambda: self._client.set(name, data, px=None if seconds is None else _ms(seconds)))

    async def delete_if_equal(self, name: str, data: bytes) -> None:
        """Delete the entry if it is exactly `data`."""
        await self._execute(lambda: self._client.eval(_DELETE_IF_EQUAL, 1, name, data))

    async def remove(self, name: str) -> None:
        """Delete the entry."""
        await self._execute(lambda: self._client.delete(name))

    async def claim(self, name: str, *, owner: str, seconds: float) -> bool:
        """Claim or extend a lease."""
        times = [str(_ms(each)) for each in (seconds, REPAIRED_LEASE, MAX_LEASE)]
        result = await self._execute(lambda: self._client.eval(_CLAIM, 1, name, owner, *times))
        if result == _REPAIRED:
            self._on_endless_lease(name)
        return bool(result == 1)

    async def release(self, name: str, *, owner: str) -> None:
        """Release a lease of this owner."""
        await self._execute(lambda: self._client.eval(_DELETE_IF_EQUAL, 1, name, owner))

    async def check(self, name: str) -> None:
        """Return if Redis can be written: it may answer, but accept no write."""
        await self._execute(lambda: self._client.set(name, b"", px=60_000))

    async def run_script(self, script: str, name: str, arguments: list[str]) -> object:
        """Run a Lua script on one key, as one step. It may run twice."""
        return await self._execute(lambda: self._client.eval(script, 1, name, *arguments))

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._client, *self._sentinels):
            await client.aclose()

    async def _execute(self, command: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with self._slots:
                return await command()
        except Exception as cause:  # the clients raise internal errors too
            raise StoreDown(f"Redis: {_explain_error(cause)}") from cause


class _CredentialProvider(CredentialProvider):
    """Reads user and password for each connection, in a thread since they may be in a file."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str, str] | tuple[str]:
        return self._login()

    async def get_credentials_async(self) -> tuple[str, str] | tuple[str]:
        return await in_thread(self._login, owner=self)


class _TlsConnection(SSLConnection):
    """Verifies certificates with a given context. The base class makes one for each connection: it reads the system's
    authorities on the loop, and trusts them in addition to the configured ones.
    """

    def __init__(self, *, tls_context: ssl.SSLContext, **settings: Any) -> None:
        super().__init__(**settings)
        self.ssl_context.context = tls_context


class _SentinelManagedTlsConnection(SentinelManagedConnection, _TlsConnection):
    """A connection to the master that the sentinels name."""


def _set_tls_context(client: Any, context: ssl.SSLContext) -> None:
    """Make a client that is not connected yet use TLS. The constructors accept no context."""
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


def _build_client(
    address: RedisAddress, common: dict[str, Any], login: Login | None, sentinel_login: Login | None
) -> tuple[Any, tuple[Any, ...]]:
    """Return the client, and those of the sentinels."""
    options: dict[str, Any] = {
        "socket_timeout": ANSWER_TIMEOUT,
        "retry": Retry(NoBackoff(), 1),
        "credential_provider": _CredentialProvider(login) if login else None,
    }
    if address.is_cluster:
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return RedisCluster(startup_nodes=nodes, **common, **options), ()
    options["db"] = address.db
    if address.service:
        sentinel_options = common | {
            "socket_timeout": common["socket_connect_timeout"],
            "retry": Retry(NoBackoff(), 0),
            "credential_provider": _CredentialProvider(sentinel_login) if sentinel_login else None,
        }
        sentinel = Sentinel(address.hosts, sentinel_kwargs=sentinel_options, **common, **options)  # type: ignore[no-untyped-call] # its constructor has no types
        return sentinel.master_for(address.service), tuple(sentinel.sentinels)
    if address.path:
        return Redis(unix_socket_path=address.path, **common, **options), ()
    [(host, port)] = address.hosts
    return Redis(host=host, port=port, **common, **options), ()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _explain_error(cause: Exception) -> str:
    return next(text for kind, text in _ERROR_TEXTS if isinstance(cause, kind))
