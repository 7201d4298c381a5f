"""From what was pasted for the domain URL to the token endpoint. Pure.

The token endpoint of an identity domain is `/oauth2/v1/token` at its domain URL, `https://idcs-….identity.oraclecloud.com`
and the regional names beside it. Hosts are kept as they are, and so is the whole path of a server that is not Oracle's.
"""

import re

from gateway.config.corrections.pasted_text import Corrected, InvalidInput, PastedUrl, bare, read_url
from gateway.oic.urls import ORACLE_DOMAIN

TOKEN_PATH = "/oauth2/v1/token"  # noqa: S105 - the path of the endpoint, no secret
_TENANT = re.compile(r"idcs-[0-9a-f]{32}", re.IGNORECASE)
_REMEDY = "open Identity & Security, Domains, your domain, and copy `Domain URL`"

# Hosts that are no identity domain, and what they are.
_STRANGERS = (
    (re.compile(r"(?:.+\.)?oracle\.com"), "is an address of the cloud console, not of an identity domain"),
    (
        re.compile(rf"(?:console|cloud|login)\.(?:[a-z0-9.-]+\.)?{ORACLE_DOMAIN}"),
        "is an address of the cloud console, not of an identity domain",
    ),
    (re.compile(rf"identity\.{ORACLE_DOMAIN}"), "is the issuer that all identity domains share, not one of them"),
    (re.compile(rf".+\.ocp\.{ORACLE_DOMAIN}"), "is an address of the OIC instance, not of its identity domain"),
)
# Pages and endpoints of an identity domain, by how their paths begin.
_PAGES = (
    ("/oauth2/v1/token/", "wrote the path exactly"),
    ("/ui/", "left off the path of the domain's console"),
    ("/.well-known/", "left off the path of the discovery document"),
    ("/oauth2/v1/", "wrote the token endpoint for another endpoint"),
    ("/admin/v1/", "left off the path of the domain's administration"),
    ("/sso/v1/", "left off the path of the sign-in page"),
)


def token_url(text: str) -> Corrected:
    """The token endpoint that was meant. Raises Uncorrectable for addresses that belong to no identity domain."""
    if _TENANT.fullmatch(bare(text).value):
        host = bare(text).value.lower()
        change = f"wrote the whole token endpoint for the domain's name alone: {TOKEN_PATH}"
        return Corrected(f"https://{host}.identity.oraclecloud.com{TOKEN_PATH}", (change,))
    url, changes = read_url(text)
    _refuse_strangers(url)
    path, said = _endpoint(url)
    query = "" if url.is_oracle or path != url.path or not url.query else f"?{url.query}"
    lost = [part for part, is_lost in (("query", url.query and not query), ("fragment", url.has_fragment)) if is_lost]
    left_off = (f"left off the {' and '.join(lost)}",) if lost else ()
    return Corrected(f"{url.origin}{path}{query}", (*changes, *said, *left_off))


def _refuse_strangers(url: PastedUrl) -> None:
    for hosts, what in _STRANGERS:
        if hosts.fullmatch(url.host):
            raise InvalidInput(f"{what}; {_REMEDY}")


def _endpoint(url: PastedUrl) -> tuple[str, tuple[str, ...]]:
    """The path of the token endpoint, and what was changed to get there."""
    path = url.path.lower()
    if url.path == TOKEN_PATH:
        return TOKEN_PATH, ()
    if path.strip("/") == "":
        return TOKEN_PATH, (f"added {TOKEN_PATH}, the token endpoint",)
    page = next((said for begin, said in _PAGES if f"{path}/".startswith(begin)), "")
    if page:
        return TOKEN_PATH, (f"{page}; the token endpoint is {TOKEN_PATH}",)
    if url.is_oracle:
        return TOKEN_PATH, (f"left off the path; the token endpoint of an identity domain is {TOKEN_PATH}",)
    if "/.well-known/" in path:
        raise InvalidInput("is a discovery document; open it, and copy what it says of `token_endpoint`")
    return url.path, ()
