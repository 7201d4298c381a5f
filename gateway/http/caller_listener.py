"""Pure: an address on which callers connect, as its connections see it."""

from dataclasses import dataclass
from typing import NamedTuple


class LocalAddress(NamedTuple):
    """What a caller connected to. `listener_host` is the configured host of the listener, in its plain form."""

    host: str
    port: int
    listener_host: str


@dataclass(frozen=True, slots=True, eq=False)
class CallerListener:
    """An address for callers. `address` is HOST:PORT or unix:/path as bound, `host` the configured host in its plain
    form (`plain_host`), empty for a unix socket.
    """

    address: str = ""
    host: str = ""


UNNAMED = CallerListener()
