"""An address to which callers connect, as its connections use it."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class CallerListener:
    """An address to which callers connect. `address` is the bound HOST:PORT or unix:/path. `host` is the configured
    host as `normalize_host` writes it; it is empty for a unix socket.
    """

    address: str = ""
    host: str = ""
    is_tls: bool = False
    context: ssl.SSLContext | None = None
    """The TLS context of new connections, if `is_tls`. It may be replaced while the listener is open."""
    is_balancer: Callable[[str], bool] | None = None
    """Whether connections from an address must begin with a PROXY protocol header; None: no connections."""

    @property
    def has_preface(self) -> bool:
        """Return whether TLS or a PROXY protocol header may precede HTTP."""
        return self.is_tls or self.is_balancer is not None

    @property
    def scheme(self) -> str:
        """Return the scheme of the listener's URLs."""
        return "https" if self.is_tls else "http"


UNNAMED_LISTENER = CallerListener()
