"""The connections to one origin: bounded, reused last-in first-out, watched before reuse, waited for in turn, shared by
its routes.

`take` gives an idle connection at once where there is one; `acquire` waits for a free place and dials. Every connection
that was given out comes back through `release`, whatever became of it.
"""

import asyncio
from collections import deque
from weakref import WeakSet

from gateway.errors import Overloaded, UpstreamUnreachable
from gateway.http.fields import FieldRules
from gateway.http.upstream_connection import UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import Origin


class ConnectionBudget:
    """Bounds the connections of all pools together, as there are file descriptors for them. A pool that needs one more
    than that has another pool close one that is idle.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pools: WeakSet[ConnectionPool] = WeakSet()
        self._most = 0

    def join(self, pool: "ConnectionPool") -> None:
        """Counts a pool's connections from now on."""
        self._pools.add(pool)
        self._most = sum(pool.size for pool in self._pools)

    def make_room(self) -> None:
        """To be called before a connection is made, which is counted already."""
        if self._most <= self._size:
            return
        over = sum(pool.total for pool in self._pools) - self._size
        for pool in self._pools:
            while over > 0 and pool.close_oldest():
                over -= 1


class Share:
    """What one route uses of a pool: `in_use` connections, and who waits for one, in the order of asking."""

    __slots__ = ("in_use", "waiters")

    def __init__(self) -> None:
        self.in_use = 0
        self.waiters: deque[asyncio.Future[UpstreamConnection | None]] = deque()


class ConnectionPool:
    """A pool for one origin: at most `size` connections, none idle for longer than `idle` or older than `max_age`
    seconds.

    Routes to the origin share it: where there are several, none uses the last quarter of it, so that one whose calls
    all hang leaves room for the others.
    """

    def __init__(
        self,
        origin: Origin,
        rules: FieldRules,
        *,
        size: int,
        idle: float,
        max_age: float,
        budget: ConnectionBudget | None = None,
    ) -> None:
        """`rules`: what becomes of each field of a response."""
        self.origin = origin
        self._rules = rules
        self.size = size
        self._budget = budget
        if budget is not None:
            budget.join(self)
        self._idle_limit = idle
        self._max_age = max_age
        self._idle: deque[UpstreamConnection] = deque()
        self._busy: dict[UpstreamConnection, Share] = {}
        self._dialing = 0
        self._shares: dict[str, Share] = {}
        self._most = size
        self._line: deque[Share] = deque()
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._whole = Share()

    def share_of(self, route: str) -> Share:
        """What `route` uses of the pool; to be asked for before the first request."""
        if route not in self._shares:
            self._shares[route] = Share()
            self._most = self.size - self.size // 4 if len(self._shares) > 1 else self.size
        return self._shares[route]

    def counts(self) -> dict[str, int]:
        """Connections by state, for metrics: busy, idle, dialing; and callers waiting."""
        return {
            "busy": len(self._busy),
            "idle": len(self._idle),
            "dialing": self._dialing,
            "waiting": sum(len(share.waiters) for share in self._line),
        }

    def try_acquire(self, share: Share | None = None) -> UpstreamConnection | None:
        """Gives an idle connection that is known to be alive, or None. Never waits, and passes nobody by: a connection
        is idle only while no one is in line whose route may have it.
        """
        share = share or self._whole
        if share.in_use >= self._most:
            return None
        while self._idle:
            connection = self._idle.pop()
            if self._loop.time() - connection.opened_at < self._max_age and connection.is_idle_clean():
                self._busy[connection] = share
                share.in_use += 1
                return connection
            connection.abort()
        return None

    async def acquire(self, within: float, *, fresh: bool = False, share: Share | None = None) -> UpstreamConnection:
        """Gives a connection within so many seconds: to each route in the order of asking, to several routes in turn;
        `fresh`: a new one where nobody is in line. Raises Overloaded where no place came free, and UpstreamUnreachable
        where none could be made.
        """
        share = share or self._whole
        is_in_line = True
        try:
            async with asyncio.timeout(within):
                granted = await self._wait_turn(share, fresh=fresh)
                if granted is not None:
                    return granted
                is_in_line = False
                return await self._dial(share)
        except TimeoutError:
            if is_in_line:
                raise Overloaded(reason=f"{self.origin.name}: {self._why_full(share)}", retry_after=1) from None
            raise UpstreamUnreachable(reason=f"{self.origin.name}: no connection within {within:g} s") from None

    def release(self, connection: UpstreamConnection) -> None:
        """Takes a connection back: kept where another exchange may follow, dropped otherwise."""
        if connection.end_exchange():
            self._put_back(connection)
        else:
            self._drop(connection)
        if self._line:
            self._grant_waiters()

    def close(self) -> None:
        """Drops the idle connections; busy ones are dropped as they come back."""
        self._closed = True
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        while self._idle:
            self._idle.pop().abort()

    @property
    def total(self) -> int:
        """Connections that there are, or soon will be."""
        return len(self._busy) + len(self._idle) + self._dialing

    def close_oldest(self) -> bool:
        """Closes the connection that has been idle for longest; false where none is idle."""
        if self._idle:
            self._idle.popleft().abort()
            return True
        return False

    def _has_room(self) -> bool:
        return self.total < self.size

    def _why_full(self, share: Share) -> str:
        if share.in_use >= self._most < self.size:
            return f"the route uses its share of `pool.size` ({self._most} of {self.size})"
        return f"all {self.size} connections are busy (`pool.size`)"

    async def _wait_turn(self, share: Share, *, fresh: bool) -> UpstreamConnection | None:
        """Waits in line for an idle connection, or for None: a counted place to dial in."""
        if not share.waiters and share.in_use < self._most:
            if not fresh and (connection := self.try_acquire(share)) is not None:
                return connection
            if fresh and self._idle and not self._has_room():
                self._idle.popleft().abort()
            if self._has_room():
                self._begin_dialing(share)
                return None
        turn: asyncio.Future[UpstreamConnection | None] = self._loop.create_future()
        if not share.waiters:
            self._line.append(share)
        share.waiters.append(turn)
        try:
            granted = await turn
        except asyncio.CancelledError:
            self._leave_queue(turn, share)
            raise
        if granted is not None and not granted.is_idle_clean():  # it was lost on the way here
            self._drop(granted)
            self._begin_dialing(share)
            return None
        return granted

    def _leave_queue(self, turn: "asyncio.Future[UpstreamConnection | None]", share: Share) -> None:
        """Leaves the line. A turn that had already come is handed on."""
        if turn.cancelled():
            if turn in share.waiters:
                share.waiters.remove(turn)
                if not share.waiters:
                    self._line.remove(share)
            return
        granted = turn.result()
        if granted is not None:
            self._put_back(granted)
        else:
            self._end_dialing(share)
        self._grant_waiters()

    def _grant_waiters(self) -> None:
        """Gives what is free to those in line: to each route that may have more, in turn."""
        blocked = 0
        while blocked < len(self._line) and (self._idle or self._has_room()):
            share = self._line.popleft()
            if share.in_use >= self._most:
                self._line.append(share)
                blocked += 1
                continue
            turn = share.waiters.popleft()
            if share.waiters:
                self._line.append(share)
            blocked = 0
            if turn.done():
                continue
            connection = self.try_acquire(share)
            if connection is None:
                self._begin_dialing(share)
            turn.set_result(connection)

    def _begin_dialing(self, share: Share) -> None:
        self._dialing += 1
        share.in_use += 1

    def _end_dialing(self, share: Share) -> None:
        self._dialing -= 1
        share.in_use -= 1

    async def _dial(self, share: Share) -> UpstreamConnection:
        """Dials in a place that was counted beforehand."""
        if self._budget is not None:
            self._budget.make_room()
        try:
            connection = await dial(self.origin, self._on_lost, self._rules)
            if not connection.is_open:
                raise UpstreamUnreachable(reason=f"{self.origin.name}: the connection closed as soon as it was made")
            self._busy[connection] = share
            share.in_use += 1
        finally:
            self._end_dialing(share)
            self._grant_waiters()
        return connection

    def _put_back(self, connection: UpstreamConnection) -> None:
        if self._closed:
            self._drop(connection)
            return
        self._leave(connection)
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._expiry_timer is None:
            self._expiry_timer = self._loop.call_later(self._idle_limit, self._close_expired)

    def _drop(self, connection: UpstreamConnection) -> None:
        self._leave(connection)
        connection.abort()

    def _leave(self, connection: UpstreamConnection) -> None:
        share = self._busy.pop(connection, None)
        if share is not None:
            share.in_use -= 1

    def _on_lost(self, connection: UpstreamConnection) -> None:
        """An idle connection that the upstream closed makes room; a busy one is its user's to bring back."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._grant_waiters()

    def _close_expired(self) -> None:
        """Closes what has been idle for too long: the oldest stand first, since the last returned is taken first."""
        self._expiry_timer = None
        while self._idle and self._loop.time() - self._idle[0].idle_since >= self._idle_limit:
            self._idle.popleft().abort()
        if self._idle:
            self._expiry_timer = self._loop.call_at(self._idle[0].idle_since + self._idle_limit, self._close_expired)
        self._grant_waiters()
