"""Flow control of a connection: a sender waits while the peer does not read."""

import asyncio


class FlowControl(asyncio.Protocol):
    """A protocol that can wait while `write_paused`."""

    __slots__ = ("_drained", "_transport", "write_paused")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._drained: asyncio.Future[None] | None = None
        self.write_paused = False

    @property
    def has_unsent_bytes(self) -> bool:
        """Whether the transport may still send from memory that it got."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def pause_writing(self) -> None:
        """asyncio: the write buffer is full."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """asyncio: the write buffer has room again."""
        self.write_paused = False
        self.wake_writer()

    def wake_writer(self) -> None:
        """End the wait, for example because the connection is lost."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def wait_writable(self, transport: asyncio.Transport, within: float) -> bool:
        """Wait until the write buffer has room. Return False if the peer read no byte in `within` seconds."""
        size_before = transport.get_write_buffer_size()
        self._drained = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within):
                await self._drained
        except TimeoutError:
            return transport.get_write_buffer_size() < size_before
        finally:
            self._drained = None
        return True
