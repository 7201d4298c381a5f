"""The interfaces of `EncryptedStore`: a backend of bytes and leases by name, a reporter of unreadable entries."""

from typing import Protocol

MAX_ENTRY_BYTES = 256 * 1024
"""Largest entry. A token has at most 64 KiB, and at most twice that when it is encoded and encrypted."""
MAX_LEASE = 86_400.0
"""Longest lease in seconds. One that seems to last longer has no holder: another program has changed its end."""


class Backend(Protocol):
    """Bytes by name, shared by processes. Every method raises StoreDown if the backend cannot be used."""

    kind: str
    """`file` or `redis`."""

    async def read(self, name: str) -> bytes | None:
        """Return what was written last; None if there is nothing.

        An entry that another program wrote may be any bytes. One of more than `MAX_ENTRY_BYTES` reads as empty: it is
        never loaded into memory.
        """
        ...

    async def write(self, name: str, data: bytes, *, seconds: float | None) -> None:
        """Write an entry that expires after `seconds`. With None it never expires, and is durable when this returns."""
        ...

    async def delete_if_equal(self, name: str, data: bytes) -> None:
        """Delete the entry if it is exactly `data`, in one step."""
        ...

    async def remove(self, name: str) -> None:
        """Delete the entry; durable when this returns."""
        ...

    async def claim(self, name: str, *, owner: str, seconds: float) -> bool:
        """Claim or extend a lease as `Store.claim_lease` does. A lease without an end is taken over after the lease
        time.
        """
        ...

    async def release(self, name: str, *, owner: str) -> None:
        """Release a lease as `Store.release_lease` does."""
        ...

    async def check(self, name: str) -> None:
        """Return if the backend can be read and written. No entry is stored under `name`."""
        ...

    async def close(self) -> None:
        """Close files and connections."""
        ...


class EntryReporter(Protocol):
    """Reports entries that cannot be read."""

    def on_unreadable_entry(self, name: str) -> None:
        """Report an ignored entry: altered, truncated, moved, or encrypted with an unknown key."""
        ...
