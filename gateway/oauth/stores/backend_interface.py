"""The ports about `SealedStore`: below it bytes and leases by name, outside this process; beside it who is told."""

from typing import Protocol

MOST_BYTES = 256 * 1024
"""Of one entry. A token has at most 64 KiB, and at most twice that when it is written down and sealed."""
LONGEST_LEASE = 86_400.0
"""Seconds. A lease that lasts longer has no holder: somebody else has taken its end away."""


class Backend(Protocol):
    """Bytes by name, shared by processes. Every method raises StoreDown where the shelf cannot do it."""

    kind: str
    """`file` or `redis`."""

    async def read(self, name: str) -> bytes | None:
        """What was written last; None where there is nothing. Something that was not written here may be any bytes; of
        more than MOST_BYTES it is empty, and never read into memory.
        """
        ...

    async def write(self, name: str, data: bytes, *, seconds: float | None) -> None:
        """Writes, to be forgotten after `seconds`. With None it is never forgotten, and durable when this returns."""
        ...

    async def delete_if_equal(self, name: str, data: bytes) -> None:
        """Removes what is there if it is exactly `data`, in one step."""
        ...

    async def remove(self, name: str) -> None:
        """Removes what is there; durable when it returns."""
        ...

    async def claim(self, name: str, *, owner: str, seconds: float) -> bool:
        """As `Store.claim`. A lease without an end is taken over after the lease time."""
        ...

    async def release(self, name: str, *, owner: str) -> None:
        """As `Store.release`."""
        ...

    async def check(self, name: str) -> None:
        """Returns where the shelf can be read and written; nothing else is kept under `name`."""
        ...

    async def close(self) -> None:
        """Lets go of files and connections."""
        ...


class EntryReporter(Protocol):
    """Is told of entries that cannot be read."""

    def unreadable(self, name: str) -> None:
        """The entry of this name is passed over: tampered with, cut, moved, or sealed with a key that is not known."""
        ...
