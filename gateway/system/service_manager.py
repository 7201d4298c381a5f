"""Tell the service manager of this process what it does, by systemd's protocol (sd_notify(3)).

The service manager names a socket in `NOTIFY_SOCKET`. Without one, nothing is sent.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping

MAX_DIGITS = 18
"""Digits of a number of microseconds."""


class ServiceManager:
    """Notifications to the service manager that the variables `environ` name."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        interval, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        is_watched = (
            self._address and interval.isdecimal() and len(interval) <= MAX_DIGITS and pid in {"", str(os.getpid())}
        )
        self.watchdog_interval = int(interval) / 2e6 if is_watched else None
        """Seconds between two calls of `send_watchdog`, half of what is allowed (sd_watchdog_enabled(3)); None: no
        watchdog is set."""

    def send_ready(self, status: str) -> None:
        """Say that the start, or a reload, is complete. `status` is one line for people."""
        self._send("READY=1", f"STATUS={status}")

    def send_reloading(self) -> None:
        """Say that a reload begins; `send_ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def send_stopping(self, *, within: float) -> None:
        """Say that the process stops, which may take `within` seconds."""
        self._send("STOPPING=1", "STATUS=draining", f"EXTEND_TIMEOUT_USEC={int(within * 1e6)}")

    def send_watchdog(self) -> None:
        """Say that the process is alive."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        """Send a message. A service manager that does not read loses it: calls are more important."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's
            sock.sendto("\n".join(lines).encode(), address)
