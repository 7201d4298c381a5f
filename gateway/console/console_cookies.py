"""The cookies of the console (RFC 6265). Pure."""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

from gateway.console.request_guard import ConsoleAddress

CookiePurpose = Literal["session", "form", "openid", "sign-in"]


def cookie_name(purpose: CookiePurpose, address: ConsoleAddress) -> str:
    """Return the name of a cookie. On https its prefix keeps other hosts of the domain from setting it (RFC 6265bis
    §4.1.3.2). It contains the port, because ports of one host share their cookies (RFC 6265 §8.5).
    """
    port = urlsplit(address.origin).port
    return f"{'__Host-' if address.is_https else ''}oic-gateway-{purpose}{'' if port is None else f'-{port}'}"


def set_cookie(purpose: CookiePurpose, value: str, address: ConsoleAddress, *, max_age: int | None = None) -> str:
    """Return the value of a `Set-Cookie` field; without `max_age` the cookie ends with the browser, with 0 at once.

    `Lax` sends the cookie when a person follows a link of another site, or returns from the provider, and never with
    a form of another site.
    """
    age = "" if max_age is None else f"; Max-Age={max_age}"
    secure = "; Secure" if address.is_https else ""
    return f"{cookie_name(purpose, address)}={value}; Path=/{age}; HttpOnly; SameSite=Lax{secure}"


def read_cookie(fields: Iterable[str], purpose: CookiePurpose, address: ConsoleAddress) -> str | None:
    """Return the value of a cookie; None if it is missing, or sent twice: then another program has set one of them."""
    name = cookie_name(purpose, address)
    pairs = (pair.strip().partition("=") for field in fields for pair in field.split(";"))
    values = [value for key, _, value in pairs if key == name]
    return values[0] if len(values) == 1 else None
