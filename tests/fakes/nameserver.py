"""A DNS server on UDP, on its own address of the loopback network, and a command that runs a program with it.

The program lives in a mount namespace where `/etc/resolv.conf` names this server alone: root is needed for that, and
for port 53.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

TYPE_A = 1
NAMESPACE = 'mount --bind "$0" /etc/resolv.conf && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'


class NameServer(asyncio.DatagramProtocol):
    """Answers for the names in `addresses`; does not respond for those in `silent`, or for any while `is_dead`.
    While it `is_failing`, it answers SERVFAIL to every question.

    `queries` counts the queries by name.
    """

    def __init__(self, addresses: Mapping[str, str], *, silent: tuple[str, ...] = ()) -> None:
        self.addresses = dict(addresses)
        self.silent = set(silent)
        self.is_dead = False
        self.is_failing = False
        self.queries: Counter[str] = Counter()
        self._change = asyncio.Condition()
        self._woken: set[asyncio.Task[None]] = set()
        self.host = ""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.host = f"127.{random.randint(64, 127)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        try:
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, 53))
        except PermissionError:
            pytest.fail("a name server needs port 53: run this test as root")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    def command(self, folder: Path) -> tuple[str, ...]:
        """Return a command that runs another one with this name server only. A query times out after half a minute."""
        resolv, switch = folder / "resolv.conf", folder / "nsswitch.conf"
        resolv.write_text(f"nameserver {self.host}\noptions timeout:30 attempts:1\n", encoding="ascii")
        switch.write_text("hosts: files dns\n", encoding="ascii")
        return ("unshare", "--mount", "sh", "-c", NAMESPACE, str(resolv), str(switch))

    async def wait_for_query(self, name: str) -> None:
        """Wait for a query of the name."""
        async with self._change:
            await self._change.wait_for(lambda: self.queries[name] > 0)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, end = _name(data)
        self.queries[name] += 1
        task = asyncio.get_running_loop().create_task(self._wake())
        self._woken.add(task)
        task.add_done_callback(self._woken.discard)
        if self.is_dead or name in self.silent:
            return
        (kind,) = struct.unpack_from("!H", data, end)
        address = self.addresses.get(name)
        records = b""
        if self.is_failing:
            flags = 0x8182  # SERVFAIL
        elif address is not None:
            flags = 0x8180
        else:
            flags = 0x8183  # NXDOMAIN
        if not self.is_failing and address is not None and kind == TYPE_A:
            records = struct.pack("!HHHIH", 0xC00C, TYPE_A, 1, 0, 4) + socket.inet_aton(address)
        head = data[:2] + struct.pack("!HHHHH", flags, 1, bool(records), 0, 0)
        self._transport.sendto(head + data[12 : end + 4] + records, addr)

    async def _wake(self) -> None:
        async with self._change:
            self._change.notify_all()


def _name(data: bytes) -> tuple[str, int]:
    """Return the name in a query, and the position of its end."""
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), at + 1
