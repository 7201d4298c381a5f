"""The limits of an OIC instance: synchronous runs at once, and the queue of asynchronous runs."""

from collections import deque

from gateway.sandbox.http_messages import SandboxResponse, json_response

_TOO_BUSY = {
    "type": "429",
    "title": "Too busy right now. Please retry later.",
    "detail": "The service is temporarily busy. Please retry later.",
}


class RunLimits:
    """Counts runs. `most` is the highest number of synchronous runs at once, `refused` those above a limit."""

    def __init__(self) -> None:
        self.running = self.most = self.refused = 0
        self._queue: deque[float] = deque()

    def begin(self, limit: int | None) -> bool:
        """Count a synchronous run, until `end`. Return False if there are as many as `limit`."""
        if limit is not None and self.running >= limit:
            self.refused += 1
            return False
        self.running += 1
        self.most = max(self.most, self.running)
        return True

    def end(self) -> None:
        """End a synchronous run."""
        self.running -= 1

    def enqueue(self, depth: int | None, *, now: float, seconds: float) -> bool:
        """Queue an asynchronous run, which ends after `seconds`. Return False if `depth` runs are queued."""
        while self._queue and self._queue[0] <= now:
            self._queue.popleft()
        if depth is not None and len(self._queue) >= depth:
            self.refused += 1
            return False
        self._queue.append(now + seconds)
        return True


def too_busy() -> SandboxResponse:
    """Return the response that Oracle documents for a full queue."""
    return json_response(429, _TOO_BUSY)
