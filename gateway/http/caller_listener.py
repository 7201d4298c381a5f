"""An address on which callers connect, as its connections see it."""

import ssl
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class CallerListener:
    """An address for callers. `address` is HOST:PORT or unix:/path as bound, `host` the configured host in its plain
    form (`plain_host`), empty for a unix socket.
    """

    address: str = ""
    host: str = ""
    is_tls: bool = False
    context: ssl.SSLContext | None = None
    """The TLS context of new connections; it may be replaced while the listener is open. Set if `is_tls`."""

    @property
    def scheme(self) -> str:
        """Return the scheme of its URLs."""
        return "https" if self.is_tls else "http"


UNNAMED = CallerListener()
