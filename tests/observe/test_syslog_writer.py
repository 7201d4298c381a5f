"""The syslog writer: receivers that close, stall, restart, answer, or are not there."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import pytest

from gateway.observe.syslog_message import MAX_MESSAGE, end_line, printable_ascii, syslog_message
from gateway.observe.syslog_writer import SyslogWriter
from tests.fakes.ports import reserved_port
from tests.fakes.waiting import TIME_LIMIT

pytestmark = pytest.mark.usefixtures("short_pauses")
LARGE = b"x" * 16_000_000  # more than the kernel buffers


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.observe.socket_writer.RETRY_PAUSE", 0.01)


class TcpReceiver:
    """A TCP port; each `accept` is one connection of the writer."""

    def __init__(self, port: int = 0) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.settimeout(TIME_LIMIT)
        self.address: tuple[str, int] = self.listener.getsockname()

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(TIME_LIMIT)
        return connection

    def accept_after(self, writer: SyslogWriter, line: bytes) -> socket.socket:
        """Have a line sent; return the connection that carries it."""
        writer.write(line)
        return self.accept()


@pytest.fixture
def receiver() -> Iterator[TcpReceiver]:
    receiver = TcpReceiver()
    with receiver.listener:
        yield receiver


def frames(connection: socket.socket, count: int) -> list[bytes]:
    """Read this number of frames, which must be whole."""
    with connection.makefile("rb") as stream:
        return [read_frame(stream) for _ in range(count)]


def read_frame(stream: BinaryIO) -> bytes:
    digits = b""
    while (digit := stream.read(1)) != b" ":
        assert digit, f"the stream ends after {digits!r}"
        digits += digit
    message = stream.read(int(digits))
    assert len(message) == int(digits)
    return message


def test_a_line_after_the_receiver_closed_uses_a_new_connection(receiver: TcpReceiver) -> None:
    writer = SyslogWriter(receiver.address)
    for line in (b"one", b"two", b"three"):
        writer.write(line)
        with receiver.accept() as connection:
            assert frames(connection, 1) == [line]
    assert writer.close(TIME_LIMIT)
    assert writer.lost == 0


def test_an_answer_before_the_close_does_not_hide_it(receiver: TcpReceiver) -> None:
    writer = SyslogWriter(receiver.address)
    for line in (b"one", b"two", b"three"):
        writer.write(line)
        with receiver.accept() as connection:
            assert frames(connection, 1) == [line]
            connection.sendall(b"unexpected")
    assert writer.close(TIME_LIMIT)


def test_a_reset_connection_is_replaced(receiver: TcpReceiver) -> None:
    writer = SyslogWriter(receiver.address)
    writer.write(b"one")
    with receiver.accept() as connection:
        assert frames(connection, 1) == [b"one"]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.write(b"two")
    with receiver.accept() as connection:
        assert frames(connection, 1) == [b"two"]
    assert writer.close(TIME_LIMIT)


def test_a_receiver_that_closes_its_half_gets_every_line(receiver: TcpReceiver) -> None:
    writer = SyslogWriter(receiver.address)
    received: list[bytes] = []
    while len(received) < 20:
        writer.write(b"%d" % len(received))
        with receiver.accept() as connection:
            connection.shutdown(socket.SHUT_WR)
            received += frames(connection, 1)
    assert received == [b"%d" % number for number in range(20)]
    assert writer.close(TIME_LIMIT)
    assert writer.lost == 0


def test_a_frame_cut_by_a_close_begins_again(receiver: TcpReceiver) -> None:
    writer = SyslogWriter(receiver.address)
    writer.write(LARGE)
    writer.write(b"next")
    for _ in range(2):
        with receiver.accept() as connection:
            assert connection.recv(9) == b"16000000 "
    with receiver.accept() as connection:
        assert frames(connection, 2) == [LARGE, b"next"]
    assert writer.close(TIME_LIMIT)
    assert writer.lost == 0


def test_a_stalled_receiver_costs_counted_lines_only(receiver: TcpReceiver) -> None:
    writer = SyslogWriter(receiver.address, max_lines=100)
    line = b"x" * 100_000
    with receiver.accept_after(writer, line) as connection:
        for number in range(1000):  # more than the kernel buffers: the queue fills
            writer.write(b"%0100000d" % number)
        assert writer.lost > 0
        received: list[bytes] = []
        reading = threading.Thread(target=lambda: received.extend(frames(connection, 1001 - writer.lost)))
        reading.start()
        assert writer.close(TIME_LIMIT)
        reading.join()
        assert received[0] == line
        numbers = [int(each[-9:]) for each in received[1:]]
        assert numbers == sorted(set(numbers))
        assert len(received) + writer.lost == 1001


def test_a_stalled_receiver_is_reported_and_close_gives_it_up(
    receiver: TcpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.observe.socket_writer.OUTAGE_AFTER", 0.0)
    causes = SimpleQueue[str]()
    writer = SyslogWriter(receiver.address)
    writer.on_outage = causes.put
    with receiver.accept_after(writer, LARGE):
        writer.write(b"next")
        assert causes.get(timeout=TIME_LIMIT) == "it reads nothing"
        assert not writer.close(0.05)
        assert writer.lost == 2


def test_lines_wait_for_the_receiver_and_close_sends_them() -> None:
    with reserved_port() as port:
        writer = SyslogWriter(("127.0.0.1", port))
        lines = [b"%d" % number for number in range(500)]
        for line in lines:
            writer.write(line)
        receiver = TcpReceiver(port)
        closing = threading.Thread(target=writer.close, args=(TIME_LIMIT,))
        closing.start()
        with receiver.listener, receiver.accept() as connection:
            assert frames(connection, 500) == lines
            assert connection.recv(1) == b""
        closing.join()
        writer.write(b"late")
        assert writer.lost == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "a" * 64 + ".invalid"])
def test_close_without_a_receiver_counts_the_lines(host: str) -> None:
    with reserved_port() as port:
        writer = SyslogWriter((host, port))
        for _ in range(10):
            writer.write(b"line")
        assert not writer.close(0.05)
        assert writer.lost == 10


def datagrams(path: Path) -> socket.socket:
    return bound(path, socket.SOCK_DGRAM)


def bound(path: Path, kind: socket.SocketKind) -> socket.socket:
    path.unlink(missing_ok=True)
    receiver = socket.socket(socket.AF_UNIX, kind)
    receiver.settimeout(TIME_LIMIT)
    receiver.bind(str(path))
    return receiver


def test_datagrams_reach_a_socket_that_was_replaced(tmp_path: Path) -> None:
    writer = SyslogWriter(str(tmp_path / "log"))
    writer.write(b"early")
    for line in (b"one", b"two", b"three"):
        with datagrams(tmp_path / "log") as receiver:
            if line == b"one":
                assert receiver.recv(100) == b"early"
            writer.write(line)
            assert receiver.recv(100) == line
    assert writer.close(TIME_LIMIT)
    assert writer.lost == 0


def test_a_full_datagram_socket_loses_counted_lines_only(tmp_path: Path) -> None:
    with datagrams(tmp_path / "log") as receiver:
        writer = SyslogWriter(str(tmp_path / "log"), max_lines=100)
        for number in range(5000):
            writer.write(b"%d" % number)
        assert writer.lost > 0
        received = [int(receiver.recv(100)) for _ in range(5000 - writer.lost)]
        assert received == sorted(set(received))
        assert writer.close(TIME_LIMIT)
        assert len(received) + writer.lost == 5000


def test_a_datagram_above_the_limit_is_counted_as_lost(tmp_path: Path) -> None:
    with datagrams(tmp_path / "log") as receiver:
        writer = SyslogWriter(str(tmp_path / "log"))
        writer.write(LARGE)
        writer.write(b"next")
        assert receiver.recv(100) == b"next"
        assert writer.close(TIME_LIMIT)
        assert writer.lost == 1


def test_a_unix_stream_socket_gets_lines_after_its_restart_too(tmp_path: Path) -> None:
    writer = SyslogWriter(str(tmp_path / "log"))
    for line in (b"one", b"two", b"three"):
        with bound(tmp_path / "log", socket.SOCK_STREAM) as listener:
            listener.listen()
            writer.write(line)
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                assert stream.readline() == line + b"\n"
    assert writer.close(TIME_LIMIT)
    assert writer.lost == 0


def test_a_long_message_is_cut_after_a_whole_character() -> None:
    for shift in range(4):
        line = b"x" * shift + "\N{GRINNING FACE}".encode() * MAX_MESSAGE
        message = syslog_message(line, level="info", time="", event="request", host="-", process=1)
        assert MAX_MESSAGE - 4 < len(message) <= MAX_MESSAGE
        assert message.decode().startswith("<134>1 - - oic-gateway 1 request - ")


def test_a_trace_in_text_stays_one_message_of_a_stream() -> None:
    assert end_line(b"one\n    two") == b"one#012    two\n"


def test_a_host_name_is_printable_ascii() -> None:
    assert [printable_ascii(name) for name in ("gw-1", "my host", "h\udce9", "")] == ["gw-1", "my-host", "h-", "-"]
