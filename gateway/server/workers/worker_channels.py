"""Opens the channel to a worker, and passes its notices to those that they are for."""

import itertools
import socket
from collections.abc import Callable

from gateway.limits.limit_coordinator import LimitCoordinators
from gateway.limits.limit_messages import LimitGateMessage
from gateway.server.workers.call_lines import CallLines
from gateway.server.workers.rpc import Channel, NoticeQueue
from gateway.services.lease_messages import GateMessage
from gateway.services.service_coordinators import ServiceCoordinators


class WorkerChannels:
    """Until its channel closes, a worker shares the places of services and the limits of callers."""

    def __init__(
        self,
        coordinators: ServiceCoordinators,
        limits: LimitCoordinators,
        on_call_lines: Callable[[CallLines], None],
    ) -> None:
        self._coordinators = coordinators
        self._limits = limits
        self._on_call_lines = on_call_lines
        self._numbers = itertools.count(1)

    async def open(self, end: socket.socket) -> Channel:
        """Return a channel to a new worker, and own the socket."""
        number, coordinators, limits = next(self._numbers), self._coordinators, self._limits

        def on_notices(notices: list[tuple[str, GateMessage | LimitGateMessage | CallLines]]) -> None:
            for name, message in notices:
                if isinstance(message, CallLines):
                    self._on_call_lines(message)
                elif isinstance(message, LimitGateMessage):
                    limits.receive(number, name, message)
                else:
                    coordinators.receive(number, name, message)

        channel = await Channel.open(end, on_notices)
        notices = NoticeQueue(channel.notify)
        coordinators.add_worker(number, lambda origin, message: notices.put((origin, message)))
        limits.add_worker(number, lambda caller, message: notices.put((caller, message)))
        channel.closed.add_done_callback(lambda _: coordinators.remove_worker(number))
        channel.closed.add_done_callback(lambda _: limits.remove_worker(number))
        return channel
