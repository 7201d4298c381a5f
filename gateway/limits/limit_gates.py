"""The gates of all callers with limits in one serving process, by name of the caller."""

import asyncio
from collections.abc import Callable, Mapping

from gateway.limits.caller_limits import CallerLimits
from gateway.limits.limit_gate import LimitGate
from gateway.limits.limit_messages import LimitGateMessage, LimitMessage


class LimitGates:
    """Creates each gate once, so that it outlives a reload. `send` takes the name of a caller and a message for its
    coordinator; set it before the first request.
    """

    def __init__(self, *, now: Callable[[], float]) -> None:
        """`now` is the monotonic clock in seconds."""
        self.send: Callable[[str, LimitGateMessage], None] = lambda _caller, _message: None
        self.configured: tuple[LimitGate, ...] = ()
        self._now = now
        self._gates: dict[str, LimitGate] = {}

    def gate(self, caller: str) -> LimitGate:
        """Return the gate of a caller, always the same one."""
        if caller not in self._gates:
            self._gates[caller] = LimitGate(
                caller,
                send=lambda message: self.send(caller, message),
                now=self._now,
                call_later=lambda delay, callback: asyncio.get_running_loop().call_later(delay, callback),
            )
        return self._gates[caller]

    def configure(self, limits: Mapping[str, CallerLimits]) -> None:
        """Use the limits of these callers from now on."""
        for caller, each in limits.items():
            self.gate(caller).configure(each)
        self.configured = tuple(map(self.gate, limits))

    def receive(self, caller: str, message: LimitMessage) -> None:
        """Pass a message of a coordinator to its gate."""
        self.gate(caller).receive(message)
