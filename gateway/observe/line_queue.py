"""A bounded queue of lines, and the thread that writes them: no slow reader or disk can block the event loop.

The loop and the thread share no lock. A line may come from a destructor (the warning about an unclosed socket), which
the garbage collector runs at any moment: if it ran while its own thread holds the lock, the process would deadlock.
`deque.append` and `SimpleQueue.put` are documented as safe in a destructor.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

MAX_LINES = 10_000
MAX_BYTES = 16 * 1024 * 1024


class LineQueue:
    """Lines for a thread that runs `work`. At most `max_lines` lines and `max_bytes` bytes are queued; further lines
    are counted in `refused`.
    """

    __slots__ = (
        *("abandoned", "closing", "pending", "refused"),
        *("_byte_limit", "_is_waiting", "_max_lines", "_queued", "_thread", "_wakeups"),
    )

    def __init__(
        self, work: Callable[[], None], *, name: str, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES
    ) -> None:
        self.pending: deque[bytes] = deque()
        self.refused = 0
        self.closing = self.abandoned = False
        self._max_lines = max_lines
        # Total bytes since the start: those that were queued, and those that may have been, which the thread changes.
        self._queued = 0
        self._byte_limit = max_bytes
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._is_waiting = False
        self._thread = threading.Thread(target=work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queue a line, or count it as refused. Never block and never raise."""
        size = len(line)
        self._queued += size
        if self._queued > self._byte_limit or len(self.pending) >= self._max_lines:
            self._queued -= size
            self.refused += 1
            return
        self.pending.append(line)
        if self._is_waiting:
            self.wake()

    def put_all(self, lines: Sequence[bytes]) -> None:
        """Queue lines, as many as there is room for."""
        size = sum(map(len, lines))
        self._queued += size
        if self._queued > self._byte_limit or len(self.pending) + len(lines) > self._max_lines:
            self._queued -= size
            for line in lines:
                self.put(line)
            return
        self.pending.extend(lines)
        if self._is_waiting:
            self.wake()

    def wake(self) -> None:
        """Wake the thread if it waits for work. Further lines of the batch do not wake it again."""
        if self._is_waiting:
            self._is_waiting = False
            self._wakeups.put(None)

    def interrupt(self) -> None:
        """End any wait of the thread."""
        self._wakeups.put(None)

    def is_running(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def close(self, timeout: float) -> bool:
        """Refuse further lines, and block up to `timeout` seconds until the thread has ended. Return whether it has.

        If not, the queued lines count as refused, and the thread is abandoned.
        """
        self._max_lines = 0
        self.closing = True
        self.interrupt()
        self._thread.join(timeout)
        if not self.is_running():
            return True
        self.abandoned = True
        self.refused += len(self.pending)
        return False

    def wait_for_work(self, seconds: float | None = None, *, has_work: Callable[[], object] = bool) -> None:
        """In the thread: wait for a line, for `wake`, or for this time. Return at once if there is work."""
        self._is_waiting = True
        if not (self.pending or has_work()):  # after `_is_waiting` is set: earlier work woke nothing
            self.pause(seconds)
        self._is_waiting = False

    def pause(self, seconds: float | None) -> None:
        """In the thread: wait for this time or until `interrupt`."""
        with contextlib.suppress(Empty):
            self._wakeups.get(timeout=seconds)

    def release(self, size: int) -> None:
        """In the thread: make room for more bytes, because lines of this size were written or dropped."""
        self._byte_limit += size
