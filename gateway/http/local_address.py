"""Pure: the address that a caller connected to."""

from typing import NamedTuple


class LocalAddress(NamedTuple):
    """The address that a caller connected to. `listener_host` is the configured host of the listener."""

    host: str
    port: int
    listener_host: str
