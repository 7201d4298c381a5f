"""Pure: the address that a caller connected to."""

from typing import NamedTuple


class LocalAddress(NamedTuple):
    """What a caller connected to. `listener_host` is the configured host of the listener, in its plain form."""

    host: str
    port: int
    listener_host: str
