"""Whoever sends goes no faster than the other side takes: what connections of callers and of upstreams share."""

import asyncio


class FlowControl(asyncio.Protocol):
    """A protocol that knows when its other side `is_behind`, and can wait for it."""

    __slots__ = ("_drained", "write_paused")

    def __init__(self) -> None:
        self._drained: asyncio.Future[None] | None = None
        self.write_paused = False

    def pause_writing(self) -> None:
        """asyncio: the other side is slower than we are."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """asyncio: it takes more."""
        self.write_paused = False
        self.stop_waiting()

    def stop_waiting(self) -> None:
        """Ends a wait: for room, or because none will ever come."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def wait_writable(self, transport: asyncio.Transport, within: float) -> bool:
        """Waits for room; false where not a byte was taken in so many seconds."""
        left = transport.get_write_buffer_size()
        self._drained = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within):
                await self._drained
        except TimeoutError:
            return transport.get_write_buffer_size() < left
        finally:
            self._drained = None
        return True
