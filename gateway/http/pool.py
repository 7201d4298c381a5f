"""The connections to one origin: bounded, reused last-in first-out, checked before reuse, shared by its routes.

`try_acquire` returns an idle connection or None; `acquire` waits in line and dials. Every acquired connection must be
returned by `release`, whatever its state.
"""

import asyncio
from collections import deque
from weakref import WeakSet

from gateway.errors import Overloaded, UpstreamUnreachable
from gateway.http.fields import FieldRules
from gateway.http.response_parser import response_shapes
from gateway.http.upstream_connection import UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import Origin


class ConnectionBudget:
    """Bounds the connections of all pools together, by the file descriptors there are. A pool that needs one more has
    another pool close an idle one.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pools: WeakSet[ConnectionPool] = WeakSet()
        self._total_size = 0

    def add_pool(self, pool: "ConnectionPool") -> None:
        """Count the connections of a pool from now on."""
        self._pools.add(pool)
        self._total_size = sum(pool.size for pool in self._pools)

    def close_excess_connections(self) -> None:
        """Close idle connections above the budget. Call before dialing; the new connection is counted already."""
        if self._total_size <= self._size:
            return
        excess = sum(pool.connection_count for pool in self._pools) - self._size
        for pool in self._pools:
            while excess > 0 and pool.close_longest_idle():
                excess -= 1


class PoolShare:
    """One route's use of a pool: the number of connections `in_use`, and its waiters, first come first served."""

    __slots__ = ("in_use", "waiters")

    def __init__(self) -> None:
        self.in_use = 0
        self.waiters: deque[asyncio.Future[UpstreamConnection | None]] = deque()


class ConnectionPool:
    """A pool for one origin: at most `size` connections, none idle for longer than `idle_timeout` or older than
    `max_age` seconds.

    Routes to the origin share it. If there are several, each may use three quarters of it: a route whose calls all hang
    leaves room for the others.
    """

    def __init__(
        self,
        origin: Origin,
        rules: FieldRules,
        *,
        size: int,
        idle_timeout: float,
        max_age: float,
        budget: ConnectionBudget | None = None,
    ) -> None:
        """`rules` say how each response field is treated."""
        self.origin = origin
        self._rules = rules
        self._shapes = response_shapes(rules)
        self.size = size
        self._budget = budget
        if budget is not None:
            budget.add_pool(self)
        self._idle_timeout = idle_timeout
        self._max_age = max_age
        self._idle: deque[UpstreamConnection] = deque()
        self._busy: dict[UpstreamConnection, PoolShare] = {}
        self._dialing = 0
        self._shares: dict[str, PoolShare] = {}
        self._share_limit = size
        self._waiting_shares: deque[PoolShare] = deque()
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._default_share = PoolShare()

    def get_share(self, route: str) -> PoolShare:
        """Return the share of `route`. Call before its first request."""
        if route not in self._shares:
            self._shares[route] = PoolShare()
            self._share_limit = self.size - self.size // 4 if len(self._shares) > 1 else self.size
        return self._shares[route]

    def count_by_state(self) -> dict[str, int]:
        """Return the number of connections by state (busy, idle, dialing), and of waiting requests."""
        return {
            "busy": len(self._busy),
            "idle": len(self._idle),
            "dialing": self._dialing,
            "waiting": sum(len(share.waiters) for share in self._waiting_shares),
        }

    def try_acquire(self, share: PoolShare | None = None) -> UpstreamConnection | None:
        """Return an idle connection that is alive, or None. No waiter is passed over: a connection is idle only while
        no route in line may have it.
        """
        share = share or self._default_share
        if share.in_use >= self._share_limit:
            return None
        while self._idle:
            connection = self._idle.pop()
            if self._time() < connection.expires_at and connection.is_idle_clean():
                self._busy[connection] = share
                share.in_use += 1
                return connection
            connection.abort()
        return None

    async def acquire(
        self, within: float, *, fresh: bool = False, share: PoolShare | None = None
    ) -> UpstreamConnection:
        """Return a connection within `within` seconds. A route's requests wait first come first served, routes take
        turns. `fresh`: dial if nothing is in line. Raise Overloaded if no connection became free, UpstreamUnreachable
        if none could be made.
        """
        share = share or self._default_share
        is_waiting = True
        try:
            async with asyncio.timeout(within):
                connection = await self._wait_for_slot(share, fresh=fresh)
                if connection is not None:
                    return connection
                is_waiting = False
                return await self._dial(share)
        except TimeoutError:
            if is_waiting:
                raise Overloaded(reason=f"{self.origin.name}: {self._full_reason(share)}", retry_after=1) from None
            raise UpstreamUnreachable(reason=f"{self.origin.name}: no connection within {within:g} s") from None

    def release(self, connection: UpstreamConnection, *, is_unused: bool = False) -> None:
        """Return a connection, and serve who waits in line: it stays open if another exchange may follow, else it is
        aborted. `is_unused`: no exchange has begun since it was idle.
        """
        self._busy.pop(connection).in_use -= 1
        if (is_unused or connection.end_exchange()) and not self._closed:
            connection.idle_since = self._time()
            self._idle.append(connection)
            if self._expiry_timer is None:
                self._expiry_timer = self._loop.call_later(self._idle_timeout, self._close_expired)
        else:
            connection.abort()
        if self._waiting_shares:
            self._grant_waiters()

    def close(self) -> None:
        """Abort the idle connections; busy ones are aborted when they are released."""
        self._closed = True
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        while self._idle:
            self._idle.pop().abort()

    @property
    def connection_count(self) -> int:
        """The number of open and dialing connections."""
        return len(self._busy) + len(self._idle) + self._dialing

    def close_longest_idle(self) -> bool:
        """Close the connection that has been idle for longest. Return False if none is idle."""
        if self._idle:
            self._idle.popleft().abort()
            return True
        return False

    def _has_room(self) -> bool:
        return self.connection_count < self.size

    def _full_reason(self, share: PoolShare) -> str:
        if share.in_use >= self._share_limit < self.size:
            return f"the route uses its share of `pool.size` ({self._share_limit} of {self.size})"
        return f"all {self.size} connections are busy (`pool.size`)"

    async def _wait_for_slot(self, share: PoolShare, *, fresh: bool) -> UpstreamConnection | None:
        """Wait in line. Return an idle connection, or None if the caller may dial; its dialing is counted already."""
        if not share.waiters and share.in_use < self._share_limit:
            if not fresh and (connection := self.try_acquire(share)) is not None:
                return connection
            if fresh and self._idle and not self._has_room():
                self._idle.popleft().abort()
            if self._has_room():
                self._begin_dialing(share)
                return None
        waiter: asyncio.Future[UpstreamConnection | None] = self._loop.create_future()
        if not share.waiters:
            self._waiting_shares.append(share)
        share.waiters.append(waiter)
        try:
            connection = await waiter
        except asyncio.CancelledError:
            self._cancel_waiter(waiter, share)
            raise
        if connection is not None and not connection.is_idle_clean():  # lost before this task ran
            self._busy.pop(connection)
            self._dialing += 1  # in its place
            connection.abort()
            return None
        return connection

    def _cancel_waiter(self, waiter: "asyncio.Future[UpstreamConnection | None]", share: PoolShare) -> None:
        """Leave the line. Pass on what was already granted to it."""
        if waiter.cancelled():
            if waiter in share.waiters:
                share.waiters.remove(waiter)
                if not share.waiters:
                    self._waiting_shares.remove(share)
            return
        connection = waiter.result()
        if connection is not None:
            self.release(connection, is_unused=True)
        else:
            self._end_dialing(share)
            self._grant_waiters()

    def _grant_waiters(self) -> None:
        """Grant free connections to the waiters: routes below their share take turns."""
        blocked = 0
        while blocked < len(self._waiting_shares) and (self._idle or self._has_room()):
            share = self._waiting_shares.popleft()
            if share.in_use >= self._share_limit:
                self._waiting_shares.append(share)
                blocked += 1
                continue
            waiter = share.waiters.popleft()
            if share.waiters:
                self._waiting_shares.append(share)
            blocked = 0
            if waiter.done():
                continue
            connection = self.try_acquire(share)
            if connection is None:
                self._begin_dialing(share)
            waiter.set_result(connection)

    def _begin_dialing(self, share: PoolShare) -> None:
        self._dialing += 1
        share.in_use += 1

    def _end_dialing(self, share: PoolShare) -> None:
        self._dialing -= 1
        share.in_use -= 1

    async def _dial(self, share: PoolShare) -> UpstreamConnection:
        """Dial; `_begin_dialing` has counted it."""
        try:
            if self._budget is not None:
                self._budget.close_excess_connections()
            connection = await dial(self.origin, self._on_lost, self._rules, self._shapes)
            if not connection.is_open:
                raise UpstreamUnreachable(reason=f"{self.origin.name}: the connection closed as soon as it was made")
            connection.expires_at = self._time() + self._max_age
            self._busy[connection] = share
            share.in_use += 1
        finally:
            self._end_dialing(share)
            self._grant_waiters()
        return connection

    def _on_lost(self, connection: UpstreamConnection) -> None:
        """Remove an idle connection that the upstream closed. A busy one is removed by `release`."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._grant_waiters()

    def _close_expired(self) -> None:
        """Close connections that are idle for too long. The longest idle come first, since the last returned
        is reused.
        """
        self._expiry_timer = None
        while self._idle and self._time() - self._idle[0].idle_since >= self._idle_timeout:
            self._idle.popleft().abort()
        if self._idle:
            self._expiry_timer = self._loop.call_at(self._idle[0].idle_since + self._idle_timeout, self._close_expired)
        self._grant_waiters()
