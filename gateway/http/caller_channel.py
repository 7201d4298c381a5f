"""The transport of one caller's connection: bytes to the caller with backpressure, and what is known of its peer."""

from gateway.content.untrusted_text import format_authority
from gateway.errors import CallerGone
from gateway.http.caller_listener import CallerListener
from gateway.http.eager_task import EagerTask
from gateway.http.flow_control import FlowControl
from gateway.http.local_address import LocalAddress
from gateway.http.open_connection import reset_on_close
from gateway.system.peer_credentials import peer_user_id


class CallerChannel(FlowControl):
    """What a handler uses of a caller's connection. `peer` is the address of the caller, None for a unix socket;
    `handler_task` runs the handler; `is_tls`: the caller uses TLS.
    """

    __slots__ = (
        "_destination",
        "_is_half_closed",
        "_listener",
        "_reading_paused",
        "handler_task",
        "is_tls",
        "peer",
    )

    handler_task: EagerTask[bool]

    def __init__(self, listener: CallerListener) -> None:
        super().__init__()
        self._listener = listener
        self.is_tls = listener.is_tls
        self._destination: tuple[str, int] | None = None
        self._is_half_closed = self._reading_paused = False
        self.peer: str | None = None

    def write(self, data: bytes) -> None:
        """Send bytes. Raise CallerGone if the caller hung up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise CallerGone
        transport.write(data)

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Send bytes in pieces. Raise CallerGone if the caller hung up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise CallerGone
        transport.writelines(pieces)

    @property
    def has_room(self) -> bool:
        """The connection is open, and bytes can be sent without waiting."""
        return not self.write_paused and self._transport is not None and not self._transport.is_closing()

    async def drain(self, idle_timeout: float) -> None:
        """Wait until the caller has room. Raise CallerGone if it reads nothing for `idle_timeout` seconds."""
        if self.write_paused:
            await self.handler_task.become_task()
        while self.write_paused and (transport := self._transport) is not None:
            if not await self.wait_writable(transport, idle_timeout):
                raise CallerGone(reason="the caller stopped reading")

    def abort(self) -> None:
        """End the connection with RST."""
        if self._transport is not None:
            reset_on_close(self._transport)
            self._transport.abort()

    @property
    def scheme(self) -> str:
        """The scheme of the URL that the caller used."""
        return self._listener.scheme

    def local_authority(self) -> str:
        """Return the address that the caller connected to as `HOST:PORT`; empty for a unix socket."""
        local = self.local_address()
        if local is None:
            return ""
        host, port, _ = local
        return format_authority(host, port)

    def local_address(self) -> LocalAddress | None:
        """Return what the caller connected to; None for a unix socket."""
        name = self._destination
        if name is None and self._transport is not None:
            name = self._transport.get_extra_info("sockname")
        return LocalAddress(name[0], name[1], self._listener.host) if isinstance(name, tuple) else None

    @property
    def peer_certificate(self) -> bytes | None:
        """The client certificate (DER) that the TLS handshake verified; None without one."""
        tls = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        return None if tls is None else tls.getpeercert(binary_form=True)

    @property
    def peer_user_id(self) -> int | None:
        """The user of the process at the other end of a unix socket; None for TCP."""
        if self._transport is None or self.peer is not None:
            return None
        return peer_user_id(self._transport.get_extra_info("socket"))

    async def become_task(self) -> None:
        """Have the handler go on as a task, because it waits for more than the upstream's response."""
        await self.handler_task.become_task()

    def pause_reading(self) -> None:
        """Stop reading from the caller."""
        if self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            if not self._is_half_closed:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the caller again."""
        if self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            if not self._is_half_closed:
                self._transport.resume_reading()

    def close(self) -> None:
        """End the connection once the bytes written are sent."""
        if self._transport is not None:
            self._transport.close()

    @property
    def is_finished(self) -> bool:
        """The connection is closed, and the kernel has all bytes that were written."""
        transport = self._transport
        return transport is None or (transport.is_closing() and not transport.get_write_buffer_size())

    def descriptor(self) -> int:
        """Return the file descriptor of the connection; -1 when it is closed."""
        return -1 if self._transport is None else int(self._transport.get_extra_info("socket").fileno())
