"""The gate of one caller in one serving process: its requests take a permit here before anything else is done for them.

`try_admit` uses a spare permit at once; `request_permit` asks the coordinator for one. A denial is remembered until its
end, so that a flood costs the coordinator no messages.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from gateway.errors import TooManyRequests
from gateway.limits.caller_limits import CallerLimits, LimitKind
from gateway.limits.limit_messages import (
    Denial,
    DenyCalls,
    GrantPermits,
    LimitGateMessage,
    LimitMessage,
    RecallPermits,
    ReportUsage,
    RequestPermits,
)
from gateway.limits.permit_lease import PermitLease
from gateway.limits.ratelimit_fields import limit_text, ratelimit_lines

REPORT_AFTER = 0.05
"""Seconds after which a used permit, or a counted message, is reported at the latest."""
SOON = 10.0
"""Spare permits that expire within so many seconds are returned then."""
ANSWER_TIME = 5.0
"""Seconds after which a request is refused if the coordinator does not answer: its process is suspended."""

Turn = asyncio.Future[Denial | None]
"""The wait of one request; done with None when it has a permit."""


class LimitGate:
    """The permits of one caller in this process. `configure` comes before the first request.

    `refused` counts the requests that were refused, by the limit that was reached.
    """

    __slots__ = (
        *(
            "_answer_time",
            "_call_later",
            "_denial",
            "_is_reporting",
            "_is_returning",
            "_lease",
            "_limits",
            "_now",
            "_requested",
        ),
        *("_send", "_turns", "caller", "refused"),
    )

    def __init__(
        self,
        caller: str,
        *,
        send: Callable[[LimitGateMessage], None],
        now: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        """`send` takes messages for the coordinator; `now` is the monotonic clock, `call_later` a timer of the loop."""
        self.caller = caller
        self.refused: dict[LimitKind, int] = {}
        self._send = send
        self._now = now
        self._call_later = call_later
        self._limits = CallerLimits()
        self._lease = PermitLease()
        self._denial: Denial | None = None
        self._turns: deque[Turn] = deque()
        self._requested = 0  # of the first turns, until the coordinator has answered
        self._is_reporting = self._is_returning = False

    def configure(self, limits: CallerLimits) -> None:
        """Use these limits. A denial by other limits ends."""
        if limits != self._limits:
            self._limits = limits
            self._denial = None

    def try_admit(self, now: float) -> bool:
        """Admit a request if there is a spare permit. `now` is the time of the clock."""
        if not self._lease.try_use(now):
            return False
        if not self._is_reporting:
            self._report_later(REPORT_AFTER)
        return True

    def request_permit(self) -> Turn:
        """Ask the coordinator to admit a request. One in the same process answers at once. Raise TooManyRequests if
        no call may begin now.
        """
        if self._denial is not None:
            if self._now() < self._denial.until:
                raise self._refusal(self._denial)
            self._denial = None
        turn: Turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        if not self._requested:
            self._request()
        return turn

    async def wait_answer(self, turn: Turn) -> None:
        """Wait for the answer of the coordinator. Raise TooManyRequests if there is none."""
        try:
            async with asyncio.timeout(ANSWER_TIME):
                await turn
        except TimeoutError:
            raise TooManyRequests(reason="the parent process does not answer", retry_after=1.0) from None

    def use_permit(self, turn: Turn) -> None:
        """Admit the request if it has a permit. Raise TooManyRequests if it was denied."""
        if (denial := turn.result()) is not None:
            raise self._refusal(denial)

    def count_messages(self, count: int) -> None:
        """Count messages that OIC bills for a call of the caller."""
        self._lease.add_messages(count)
        if self._limits.messages is not None and not self._is_reporting:
            self._report_later(REPORT_AFTER)

    def receive(self, message: LimitMessage) -> None:
        """Act on a message of the coordinator."""
        match message:
            case GrantPermits(count, spare, valid_until, window):
                self._requested -= count
                self._serve(count)
                self._lease.grant(spare, valid_until, window)
                self._return_later()
                if not self._requested and self._turns:
                    self._serve_spare()
            case DenyCalls(denial):
                self._requested = 0
                self._denial = denial
                while self._turns:
                    _finish(self._turns.popleft(), denial)
            case RecallPermits():
                self._send(ReportUsage(self._lease.take_usage(self._now(), returns_permits=True)))

    def _serve(self, count: int) -> None:
        """Admit the first requests. The permit of one that has left is lost: its call counts."""
        for _ in range(count):
            _finish(self._turns.popleft(), None)

    def _serve_spare(self) -> None:
        """Admit requests that came meanwhile by spare permits, and request what is missing."""
        now = self._now()
        while self._turns and self.try_admit(now):
            self._serve(1)
        if self._turns:
            self._request()

    def _request(self) -> None:
        self._requested = len(self._turns)
        self._send(RequestPermits(self._requested, self._lease.take_usage(self._now())))

    def _return_later(self) -> None:
        """Return spare permits when they expire, if that is soon: they are borrowed, and others need them."""
        delay = self._lease.valid_until - self._now()
        if self._lease.permits and delay < SOON and not self._is_returning:
            self._is_returning = True
            self._call_later(max(0.0, delay), self._return_expired)

    def _return_expired(self) -> None:
        self._is_returning = False
        usage = self._lease.take_usage(self._now())
        if any((usage.used, usage.returned, usage.messages)):
            self._send(ReportUsage(usage))
        self._return_later()

    def _report_later(self, delay: float) -> None:
        self._is_reporting = True
        self._call_later(delay, self._report)

    def _report(self) -> None:
        self._is_reporting = False
        self._send(ReportUsage(self._lease.take_usage(self._now())))

    def _refusal(self, denial: Denial) -> TooManyRequests:
        self.refused[denial.kind] = self.refused.get(denial.kind, 0) + 1
        now, text = self._now(), limit_text(self._limits, denial)
        return TooManyRequests(
            f"The caller has reached its limit of {text}." if text else "",
            reason=f"caller {self.caller}: {denial.kind}: {text}",
            retry_after=max(0.0, denial.until - now),
            fields=ratelimit_lines(self._limits, denial, now),
        )


def _finish(turn: Turn, denial: Denial | None) -> None:
    if not turn.done():
        turn.set_result(denial)
