"""A receiver of systemd's native journal protocol, by https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""

import array
import fcntl
import os
import re
import socket
from pathlib import Path
from typing import Self

from tests.fakes.waiting import TIME_LIMIT

Entry = dict[str, list[bytes]]
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def decode_entry(data: bytes) -> Entry:
    """Return the values of each field. A client's name with an invalid character, or with `_` first, is an error."""
    entry: Entry = {}
    while data:
        row, _, rest = data.partition(b"\n")
        name, equals, value = row.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert len(value) == size
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name), name
        entry.setdefault(name.decode(), []).append(value)
        data = rest
    return entry


class JournalReceiver:
    """The datagram socket at a path, which replaces the one before it."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(TIME_LIMIT)
        self._socket.bind(str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def receive(self) -> Entry:
        """Receive an entry in a datagram, or in a sealed file that comes with an empty one."""
        data, ancillary, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        if not ancillary:
            return decode_entry(data)
        assert data == b""
        [descriptor] = array.array("i", ancillary[0][2])
        try:
            assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == SEALS
            return decode_entry(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        finally:
            os.close(descriptor)
