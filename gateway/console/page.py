"""What a page of the console gets and returns. Pure."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.admin.console_backend import ConsoleBackend
from gateway.config.console_model import Role


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person who looks at a page. Each form repeats `csrf_token`, that of the session."""

    name: str
    role: Role
    csrf_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry of the audit at `time`, in epoch seconds: who did what to which target, from where, with which result
    (`ok`, `failed`, `denied`).
    """

    time: float
    who: str
    role: str
    client: str
    action: str
    target: str
    result: str
    detail: str


RecentAudit = Callable[[int], Awaitable[Sequence[AuditRow]]]


async def _no_audit(_: int) -> Sequence[AuditRow]:
    return ()


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request for a page. `path` are the decoded segments below `/console/`; `now` is in epoch seconds; `base_url` is
    the scheme and host that the browser uses. `is_fragment` is true if htmx replaces a part of the present page.
    `recent_audit` returns the last audit entries, newest first, at most so many.
    """

    backend: ConsoleBackend
    viewer: Viewer
    path: tuple[str, ...]
    query: Mapping[str, str]
    is_fragment: bool
    now: float
    base_url: str
    recent_audit: RecentAudit = _no_audit


@dataclass(frozen=True, slots=True)
class Page:
    """A template and its values. `rendering` adds those that all templates have."""

    template: str
    values: Mapping[str, object]
    status: int = 200


@dataclass(frozen=True, slots=True)
class PageDocument:
    """A complete document that is no HTML page, such as JSON. With `filename` the browser saves it."""

    body: bytes
    content_type: str
    filename: str | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class PageStream:
    """Server-sent events (HTML Standard §9.2): the encoded events, as they arrive."""

    events: AsyncIterator[bytes]


PageAnswer = Page | PageDocument | PageStream
PageHandler = Callable[[PageRequest], Awaitable[PageAnswer]]
