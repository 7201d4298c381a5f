"""The connections to one origin: bounded, reused last-in first-out, watched before reuse, waited for in turn, shared by
its routes.

`take` gives an idle connection at once where there is one; `acquire` waits for a free place and dials. Every connection
that was given out comes back through `release`, whatever became of it.
"""

import asyncio
from collections import deque
from weakref import WeakSet

from gateway.errors import Overloaded, UpstreamUnreachable
from gateway.network.dialing import Origin
from gateway.proxy.connection import Connection
from gateway.proxy.dialing import dial


class ConnectionBudget:
    """Bounds the connections of all pools together, as there are file descriptors for them. A pool that needs one more
    than that has another pool close one that is idle.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pools: WeakSet[Upstream] = WeakSet()
        self._most = 0

    def join(self, pool: "Upstream") -> None:
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
        self.waiters: deque[asyncio.Future[Connection | None]] = deque()


class Upstream:
    """A pool for one origin: at most `size` connections, none idle for longer than `idle` or older than `max_age`
    seconds.

    Routes to the origin share it: where there are several, none uses the last quarter of it, so that one whose calls
    all hang leaves room for the others.
    """

    def __init__(
        self, origin: Origin, *, size: int, idle: float, max_age: float, budget: ConnectionBudget | None = None
    ) -> None:
        self.origin = origin
        self.size = size
        self._budget = budget
        if budget is not None:
            budget.join(self)
        self._idle_limit = idle
        self._max_age = max_age
        self._idle: deque[Connection] = deque()
        self._busy: dict[Connection, Share] = {}
        self._dialing = 0
        self._shares: dict[str, Share] = {}
        self._most = size
        self._line: deque[Share] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
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

    def take(self, share: Share | None = None) -> Connection | None:
        """Gives an idle connection that is known to be alive, or None. Never waits, and passes nobody by: a connection
        is idle only while no one is in line whose route may have it.
        """
        share = share or self._whole
        if share.in_use >= self._most:
            return None
        while self._idle:
            connection = self._idle.pop()
            if self._loop.time() - connection.opened_at < self._max_age and connection.is_quiet():
                self._busy[connection] = share
                share.in_use += 1
                return connection
            connection.abort()
        return None

    async def acquire(self, within: float, *, fresh: bool = False, share: Share | None = None) -> Connection:
        """Gives a connection within so many seconds: to each route in the order of asking, to several routes in turn;
        `fresh`: a new one where nobody is in line. Raises Overloaded where no place came free, and UpstreamUnreachable
        where none could be made.
        """
        share = share or self._whole
        is_in_line = True
        try:
            async with asyncio.timeout(within):
                granted = await self._turn(share, fresh=fresh)
                if granted is not None:
                    return granted
                is_in_line = False
                return await self._dial(share)
        except TimeoutError:
            if is_in_line:
                raise Overloaded(reason=f"{self.origin.name}: {self._why_full(share)}", retry_after=1) from None
            raise UpstreamUnreachable(reason=f"{self.origin.name}: no connection within {within:g} s") from None

    def release(self, connection: Connection) -> None:
        """Takes a connection back: kept where another exchange may follow, dropped otherwise."""
        if connection.finish():
            self._put_back(connection)
        else:
            self._drop(connection)
        if self._line:
            self._admit()

    def close(self) -> None:
        """Drops the idle connections; busy ones are dropped as they come back."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
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

    async def _turn(self, share: Share, *, fresh: bool) -> Connection | None:
        """Waits in line for an idle connection, or for None: a counted place to dial in."""
        if not share.waiters and share.in_use < self._most:
            if not fresh and (connection := self.take(share)) is not None:
                return connection
            if fresh and self._idle and not self._has_room():
                self._idle.popleft().abort()
            if self._has_room():
                self._begin_dialing(share)
                return None
        turn: asyncio.Future[Connection | None] = self._loop.create_future()
        if not share.waiters:
            self._line.append(share)
        share.waiters.append(turn)
        try:
            granted = await turn
        except asyncio.CancelledError:
            self._give_up(turn, share)
            raise
        if granted is not None and not granted.is_quiet():  # it was lost on the way here
            self._drop(granted)
            self._begin_dialing(share)
            return None
        return granted

    def _give_up(self, turn: "asyncio.Future[Connection | None]", share: Share) -> None:
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
        self._admit()

    def _admit(self) -> None:
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
            connection = self.take(share)
            if connection is None:
                self._begin_dialing(share)
            turn.set_result(connection)

    def _begin_dialing(self, share: Share) -> None:
        self._dialing += 1
        share.in_use += 1

    def _end_dialing(self, share: Share) -> None:
        self._dialing -= 1
        share.in_use -= 1

    async def _dial(self, share: Share) -> Connection:
        """Dials in a place that was counted beforehand."""
        if self._budget is not None:
            self._budget.make_room()
        try:
            connection = await dial(self.origin, self._lost)
            if not connection.is_open:
                raise UpstreamUnreachable(reason=f"{self.origin.name}: the connection closed as soon as it was made")
            self._busy[connection] = share
            share.in_use += 1
        finally:
            self._end_dialing(share)
            self._admit()
        return connection

    def _put_back(self, connection: Connection) -> None:
        if self._closed:
            self._drop(connection)
            return
        self._leave(connection)
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._idle_limit, self._sweep)

    def _drop(self, connection: Connection) -> None:
        self._leave(connection)
        connection.abort()

    def _leave(self, connection: Connection) -> None:
        share = self._busy.pop(connection, None)
        if share is not None:
            share.in_use -= 1

    def _lost(self, connection: Connection) -> None:
        """An idle connection that the upstream closed makes room; a busy one is its user's to bring back."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._admit()

    def _sweep(self) -> None:
        """Closes what has been idle for too long: the oldest stand first, since the last returned is taken first."""
        self._sweeper = None
        while self._idle and self._loop.time() - self._idle[0].idle_since >= self._idle_limit:
            self._idle.popleft().abort()
        if self._idle:
            self._sweeper = self._loop.call_at(self._idle[0].idle_since + self._idle_limit, self._sweep)
        self._admit()
