"""The requests that arrived at the sandbox, for tests."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Journal(Generic[Entry]):
    """The last entries in order of request, and the number of all entries so far (`total`)."""

    def __init__(self, limit: int = 10_000) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self.total = 0

    def add(self, entry: Entry) -> None:
        """Append an entry and wake the waiters."""
        self._entries.append(entry)
        self.total += 1
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def reached(self, total: int) -> None:
        """Wait until `total` entries have arrived since the start."""
        while self.total < total:
            await self._arrived.wait()

    def clear(self) -> None:
        """Remove all entries; `total` starts at 0 again."""
        self._entries.clear()
        self.total = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __getitem__(self, index: int) -> Entry:
        return self._entries[index]


@dataclass(slots=True)
class TokenCall:
    """A request to the token endpoint, without its secrets.

    `client_auth` is `basic`, `post`, `private_key_jwt`, `tls` or `none`; `form` lacks
    `client_secret`, `assertion`, `password` and the like; `status` is that of the response, 0 before
    it or if the connection was closed without one.
    """

    at: float
    client_id: str = ""
    client_auth: str = "none"
    form: Mapping[str, str] = field(default_factory=dict)
    status: int = 0


@dataclass(slots=True)
class SecretCall:
    """A request for a new client secret of the application `app_id`; `is_done`: it has one, and the old one ended."""

    at: float
    app_id: str
    is_done: bool = False


@dataclass(slots=True)
class Call:
    """A request to the OIC instance.

    `target` is the raw request target and `headers` the raw fields, as received and in order; `body_length` and
    `body_sha256` (hex) change while the body is read, until `body_complete` is set. `body_start` is the beginning of
    the body, up to `body_start_limit` bytes (64 KiB for SOAP, else 0). `instance_id` and `status` are those of the
    response, empty and 0 before it.
    """

    at: float
    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body_length: int = 0
    body_complete: bool = False
    instance_id: str = ""
    status: int = 0
    body_start_limit: int = field(default=0, repr=False)
    body_start: bytes = field(default=b"", repr=False)
    _hash: "hashlib._Hash" = field(default_factory=hashlib.sha256, repr=False)

    @property
    def body_sha256(self) -> str:
        """Return the SHA-256 of the body read so far, in hex."""
        return self._hash.hexdigest()

    def header(self, name: str) -> str | None:
        """Return the value of the first field of that name, in any case; None if there is none."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == wanted), None)

    async def watch(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks of the body, and count and hash them."""
        async for chunk in body:
            self.body_length += len(chunk)
            self._hash.update(chunk)
            self.body_start += chunk[: self.body_start_limit - len(self.body_start)] if self.body_start_limit else b""
            yield chunk
        self.body_complete = True
