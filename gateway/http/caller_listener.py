"""An address on which callers connect, as its connections see it."""

import ssl
from collections.abc import Callable
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
    is_balancer: Callable[[str], bool] | None = None
    """Whether connections of an address begin with a header of the PROXY protocol; None: of no address."""

    @property
    def has_preface(self) -> bool:
        """Return whether something may come before HTTP."""
        return self.is_tls or self.is_balancer is not None

    @property
    def scheme(self) -> str:
        """Return the scheme of its URLs."""
        return "https" if self.is_tls else "http"


UNNAMED_LISTENER = CallerListener()
