"""The limits of callers that replicas share in Redis.

The state of a caller is one JSON value. A step of Redis fills the bucket, begins new windows, and grants permits. Its
clock decides. While Redis does not answer, each replica counts alone, from the last counts that it knows.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from gateway.limits.borrowed_allowance import Loan, LoanRequest
from gateway.limits.caller_limits import CallerLimits, Quota
from gateway.observe.log import log_event

log = logging.getLogger("gateway.limits")

TIME_LIMIT = 1.0
"""Seconds for one request to Redis."""
RETRY = 1.0
"""Seconds until the next request after one that failed."""

EvaluateScript = Callable[[str, str, list[str]], Awaitable[object]]
"""Run a Lua script on one key with these arguments, as one step. Raise OSError if Redis cannot."""

# Times are in ms of Redis's clock, tokens in thousandths. If the value is lost, the last known counts are used.
_FIELDS = 9
BORROW_SCRIPT = """
local per_s, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local calls_limit, calls_size = tonumber(ARGV[3]), tonumber(ARGV[4])
local messages_limit, messages_size = tonumber(ARGV[5]), tonumber(ARGV[6])
local want, back, back_window = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local calls, messages = tonumber(ARGV[10]), tonumber(ARGV[11])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.call('GET', KEYS[1])
local is_read, state = pcall(cjson.decode, found or '')
if not is_read or type(state) ~= 'table' then state = {} end
local function window(name, size, known_number, known_used)
  local number, used = math.floor(now / 1000 / size), 0
  if type(state[name]) == 'table' then
    if tonumber(state[name][1]) == number then used = tonumber(state[name][2]) end
  elseif tonumber(known_number) == number then used = tonumber(known_used) end
  return number, used, (number + 1) * size * 1000 - now
end
local calls_number, calls_used, calls_end = window('calls', calls_size, ARGV[12], ARGV[13])
local messages_number, messages_used, messages_end = window('messages', messages_size, ARGV[14], ARGV[15])
local tokens = burst
if state.tokens then
  tokens = math.min(burst, tonumber(state.tokens) + math.max(0, now - tonumber(state.at)) * per_s / 1000)
end
tokens = math.min(burst, tokens + back) - calls
if back_window == calls_number then calls_used = math.max(0, calls_used - back) end
calls_used, messages_used = calls_used + calls, messages_used + messages
local granted = want
if burst > 0 then granted = math.min(granted, math.max(0, math.floor(tokens + 0.000001))) end
if calls_limit >= 0 then granted = math.min(granted, math.max(0, calls_limit - calls_used)) end
if messages_limit >= 0 and messages_used >= messages_limit then granted = 0 end
tokens, calls_used = tokens - granted, calls_used + granted
state = {
  tokens = tokens, at = now, calls = {calls_number, calls_used}, messages = {messages_number, messages_used}
}
local lifetime = math.max(calls_size, messages_size) * 2000
redis.call('SET', KEYS[1], cjson.encode(state), 'PX', lifetime)
local whole = math.max(0, math.floor(tokens + 0.000001))
local next_token = 0
if per_s > 0 then next_token = math.ceil((whole + 1 - tokens) * 1000 / per_s) end
return {
  granted, whole, next_token, calls_number, calls_used, calls_end, messages_number, messages_used, messages_end
}
"""


class ReplicaLimits:
    """Borrows permits in Redis. `is_shared` is False while Redis does not answer."""

    def __init__(self, evaluate: EvaluateScript, *, prefix: str) -> None:
        """`prefix` begins all keys in Redis."""
        self.is_shared = True
        self._evaluate = evaluate
        self._prefix = prefix
        self._retry_at = 0.0

    async def borrow(self, caller: str, limits: CallerLimits, request: LoanRequest) -> Loan | None:
        """Return a loan, or None if Redis does not answer."""
        if not self.is_shared and time.monotonic() < self._retry_at:
            return None
        try:
            async with asyncio.timeout(TIME_LIMIT):
                answer = await self._evaluate(BORROW_SCRIPT, self._key(caller), _arguments(limits, request))
        except (OSError, TimeoutError) as error:
            self._report_failure(str(error) or "no answer in time")
            return None
        loan = _loan(answer)
        if loan is None:
            self._report_failure("an unexpected answer")
            return None
        if not self.is_shared:
            self.is_shared = True
            log_event(log, logging.INFO, "limits-shared", "replicas share the limits of callers again")
        return loan

    def _report_failure(self, why: str) -> None:
        """Log the beginning of an outage."""
        self._retry_at = time.monotonic() + RETRY
        if self.is_shared:
            self.is_shared = False
            message = f"replicas do not share the limits of callers; each applies the whole limits alone: Redis: {why}"
            log_event(log, logging.WARNING, "limits-unshared", message)

    def _key(self, caller: str) -> str:
        return f"{self._prefix}:1:limits:{caller}"


def _arguments(limits: CallerLimits, request: LoanRequest) -> list[str]:
    rate, known = limits.rate, request.known
    per_second, burst = (0.0, 0) if rate is None else (rate.per_second, rate.burst)
    numbers = (
        *(per_second, burst),
        *_quota_arguments(limits.calls),
        *_quota_arguments(limits.messages),
        *(request.want, request.back, request.window, request.calls, request.messages),
        *((-1, 0) if known is None else (known.calls_window, known.calls_used)),
        *((-1, 0) if known is None else (known.messages_window, known.messages_used)),
    )
    return [repr(number) for number in numbers]


def _quota_arguments(quota: Quota | None) -> tuple[int, int]:
    return (-1, 3600) if quota is None else quota


def _loan(answer: object) -> Loan | None:
    if not isinstance(answer, list) or len(answer) != _FIELDS or not all(isinstance(each, int) for each in answer):
        return None
    granted, tokens, next_token, calls, calls_used, calls_end, messages, messages_used, messages_end = answer
    return Loan(
        granted,
        tokens,
        next_token / 1000,
        calls,
        calls_used,
        calls_end / 1000,
        messages,
        messages_used,
        messages_end / 1000,
    )
