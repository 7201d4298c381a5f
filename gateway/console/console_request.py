"""A request of a browser, as the console reads it, and the forms that it sends."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.admin.forwarded import is_forwarded
from gateway.config.values import Network
from gateway.console.console_cookies import CookiePurpose, read_cookie
from gateway.console.request_guard import (
    HOME,
    ConsoleAddress,
    client_address,
    is_embedded,
    is_own_origin,
    read_address,
    safe_return_path,
)
from gateway.content.untrusted_text import is_loopback_host, normalize_host, read_url

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FORM = 16 * 1024  # bytes
MAX_FORM_FIELDS = 16
FORM_TIMEOUT = 10.0  # seconds
READ_METHODS = ("GET", "HEAD")


class UnusableForm(Exception):
    """A form cannot be read: the `status` of the response, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class ConsoleRequest:
    """A request: `path` is not decoded, `client` the address of the person (None: a unix socket)."""

    raw: web.BaseRequest = field(repr=False)
    path: str
    address: ConsoleAddress
    peer: str | None
    client: str | None

    @classmethod
    def read(
        cls, raw: web.BaseRequest, *, peer: str | None, host: str, url: str | None, proxies: Sequence[Network]
    ) -> Self | None:
        """Return the request with this Host to a console with this `url`; None for a malformed Host."""
        address = read_address(url, host)
        if address is None:
            return None
        client = client_address(peer, raw.headers.getall("X-Forwarded-For", []), proxies)
        return cls(raw, raw.rel_url.raw_path, address, peer, client)

    @property
    def is_read(self) -> bool:
        """Return whether the request changes nothing."""
        return self.raw.method in READ_METHODS

    @property
    def is_fragment(self) -> bool:
        """Return whether htmx sent the request, to replace a part of a page."""
        return self.raw.headers.get("HX-Request") == "true"

    @property
    def accepts_html(self) -> bool:
        """Return whether the answer is shown as a page; scripts accept other types."""
        return "text/html" in self.raw.headers.get("Accept", "text/html")

    @property
    def is_by_person(self) -> bool:
        """Return whether a person acts: follows a link or sends a form. A page that refreshes itself does not keep a
        session alive.
        """
        return not self.is_read or (self.accepts_html and not self.is_fragment)

    @property
    def page_path(self) -> str:
        """The path of the page that shows a part which htmx replaces."""
        page = read_url(self.raw.headers.get("HX-Current-URL", ""))
        return HOME if page is None else safe_return_path(f"{page.path}?{page.query}" if page.query else page.path)

    @property
    def is_embedded(self) -> bool:
        """Return whether another site loads the answer into its own page."""
        return is_embedded(self._fetch_site, self.raw.headers.get("Sec-Fetch-Mode"))

    @property
    def is_from_own_page(self) -> bool:
        """Return whether a page of the console sent the request."""
        return is_own_origin(self.raw.headers.getall("Origin", []), self._fetch_site, self.address)

    @property
    def is_on_this_machine(self) -> bool:
        """Return whether the request comes from this machine, by a name of this machine, and through no proxy."""
        is_local = self.peer is None or is_loopback_host(normalize_host(self.peer))
        return is_local and self.address.is_loopback and not is_forwarded(self.raw.headers, self.raw.version)

    @property
    def _fetch_site(self) -> str | None:
        return self.raw.headers.get("Sec-Fetch-Site")

    def cookie(self, purpose: CookiePurpose) -> str | None:
        """Return the value of a cookie of the console."""
        return read_cookie(self.raw.headers.getall("Cookie", []), purpose, self.address)

    async def read_form(self) -> Mapping[str, str]:
        """Return the fields of a form; of repeated ones the last. Raise UnusableForm."""
        content_type = self.raw.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if content_type != FORM_TYPE:
            raise UnusableForm(415, f"A form of the console is sent as {FORM_TYPE}.")
        if (self.raw.content_length or 0) > MAX_FORM:
            raise UnusableForm(413, "The form is too large.")
        body = bytearray()
        try:
            async with asyncio.timeout(FORM_TIMEOUT):
                async for piece in self.raw.content.iter_any():
                    body += piece
                    if len(body) > MAX_FORM:
                        raise UnusableForm(413, "The form is too large.")
        except TimeoutError:
            raise UnusableForm(408, "The form did not arrive in time.") from None
        try:
            return dict(
                parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS, errors="strict")
            )
        except ValueError:  # UnicodeDecodeError is one
            raise UnusableForm(400, "The form is malformed.") from None
