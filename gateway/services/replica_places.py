"""The part of each service's places that this replica has, leased in Redis.

Each replica renews its lease about once a second, and sooner while calls wait. In one step, Redis gives it the places
that it wants and that the others do not have; while together they want more than the limit, it gives each replica an
equal part. While calls wait at another replica, it keeps no idle places. A replica that stops without releasing its
places loses them after `LEASE_SECONDS`. While Redis does not answer, each replica keeps the places that it has.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.observe.log import log_event
from gateway.services.coordinator import PartRequest
from gateway.services.service_coordinators import ServiceCoordinators

log = logging.getLogger("gateway.services")

RENEWAL_INTERVAL = 1.0
"""Seconds between two renewals."""
URGENT_RENEWAL_INTERVAL = 0.1
"""Seconds between two renewals while calls wait, and after a replica was given less than it had."""
LEASE_SECONDS = 10.0
"""Seconds without a renewal after which a replica loses its places."""
RENEWAL_TIMEOUT = 2.0
"""Seconds for one renewal."""
ROTATION_SECONDS = 5
"""Seconds after which another replica gets the places that cannot be divided evenly."""

EvaluateScript = Callable[[str, str, list[str]], Awaitable[object]]
"""Run a Lua script on one key with these arguments, as one step. Raise OSError if Redis cannot."""

# The value is one JSON object. It has four values for each replica: the places that it has, the places that it wants,
# the end of its lease in ms of Redis's clock, and whether calls wait there. A replica counts as having `held` places
# until it reports fewer. If its own entry is lost, those of others may be lost too: it gets no more places until they
# have renewed theirs. Places are divided evenly, up to what each replica wants. The remainder goes to each in turn.
RENEW_SCRIPT = f"""
local id, limit, held, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local short, lease = tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.call('GET', KEYS[1])
local is_read, all = pcall(cjson.decode, found or '{{}}')
if not is_read or type(all) ~= 'table' then all = {{}} end
local was_known, others, others_short, names = all[id] ~= nil, 0, 0, {{id}}
for name, entry in pairs(all) do
  if type(entry) ~= 'table' or tonumber(entry[3]) < now then all[name] = nil
  elseif name ~= id then
    others = others + entry[1]
    others_short = math.max(others_short, entry[4])
    table.insert(names, name)
  end
end
all[id] = {{held, want, now + lease, short}}
table.sort(names, function(a, b)
  if all[a][2] ~= all[b][2] then return all[a][2] < all[b][2] end
  return a < b
end)
local left, part = limit, 0
for position, name in ipairs(names) do
  local count = #names - position + 1
  local even = math.floor(left / count)
  if all[name][2] <= even then
    left = left - all[name][2]
    if name == id then part = want end
  else
    local extra, turn = left - even * count, math.floor(clock[1] / {ROTATION_SECONDS})
    for rank = position, #names do
      if names[rank] == id then
        part = even
        if (rank - position + turn) % count < extra then part = math.min(want, even + 1) end
      end
    end
    break
  end
end
part = math.max(0, math.min(part, limit - others))
if held > 0 and not was_known then part = math.min(part, held) end
all[id][1] = math.max(part, held)
redis.call('SET', KEYS[1], cjson.encode(all), 'PX', lease * 2)
return {{part, others_short}}
"""
LEAVE_SCRIPT = """
local is_read, all = pcall(cjson.decode, redis.call('GET', KEYS[1]) or '{}')
if is_read and type(all) == 'table' and all[ARGV[1]] then
  all[ARGV[1]] = nil
  if next(all) then redis.call('SET', KEYS[1], cjson.encode(all), 'PX', ARGV[2]) else redis.call('DEL', KEYS[1]) end
end
return 0
"""


class ReplicaPlaces:
    """Renews the leases of all services of `coordinators`, from `start` to `close`."""

    def __init__(
        self, coordinators: ServiceCoordinators, evaluate: EvaluateScript, *, replica: str, prefix: str
    ) -> None:
        """`replica` is a random name of this gateway; `prefix` begins all keys in Redis."""
        self._coordinators = coordinators
        self._evaluate = evaluate
        self._replica = replica
        self._prefix = prefix
        self._wake = asyncio.Event()
        self._is_shared = True
        self._leased: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to renew."""
        self._coordinators.on_shortage = self._wake.set
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop, and release all places."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        try:
            async with asyncio.timeout(RENEWAL_TIMEOUT):
                for origin in self._leased:
                    await self._evaluate(LEAVE_SCRIPT, self._key(origin), [self._replica, _ms(LEASE_SECONDS)])
        except (OSError, TimeoutError):
            return  # the lease ends by itself

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            is_urgent = [await self._renew(request) for request in self._coordinators.part_requests()]
            try:
                if any(is_urgent):
                    await asyncio.sleep(URGENT_RENEWAL_INTERVAL)
                else:
                    async with asyncio.timeout(RENEWAL_INTERVAL):
                        await self._wake.wait()
            except TimeoutError:
                continue

    async def _renew(self, request: PartRequest) -> bool:
        """Renew one lease. Return whether the next renewal must follow soon."""
        numbers = (request.limit, request.held, request.want, int(request.is_short))
        arguments = [self._replica, *map(str, numbers), _ms(LEASE_SECONDS)]
        try:
            async with asyncio.timeout(RENEWAL_TIMEOUT):
                answer = await self._evaluate(RENEW_SCRIPT, self._key(request.origin), arguments)
        except (OSError, TimeoutError) as error:
            self._on_failure(request, str(error) or "no answer in time")
            return False
        if not isinstance(answer, list) or not all(isinstance(number, int) for number in answer) or len(answer) != 2:
            self._on_failure(request, "an unexpected answer")
            return False
        part, others_short = answer
        self._leased.add(request.origin)
        if not self._is_shared:
            self._is_shared = True
            log_event(log, logging.INFO, "places-shared", "replicas share the places of services again")
        self._coordinators.set_part(request.origin, part, are_others_short=bool(others_short))
        return part < request.held or request.is_short

    def _on_failure(self, request: PartRequest, why: str) -> None:
        """Keep what this replica has; if it has none, use the whole limit: calls must not depend on Redis."""
        if self._is_shared:
            self._is_shared = False
            message = f"replicas do not share the places of services; each keeps those that it has: Redis: {why}"
            log_event(log, logging.WARNING, "places-unshared", message)
        if not request.held:
            self._coordinators.set_part(request.origin, request.limit)

    def _key(self, origin: str) -> str:
        return f"{self._prefix}:1:places:{origin}"


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
