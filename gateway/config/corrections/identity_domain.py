"""Derive the token endpoint from the text that was pasted for the domain URL. Pure.

The token endpoint of an identity domain is `/oauth2/v1/token` at its domain URL,
`https://idcs-….identity.oraclecloud.com` or a regional name. Hosts stay unchanged. The whole path stays unchanged if
the server is not Oracle's.
"""

import re

from gateway.config.corrections.pasted_text import Corrected, InvalidInput, PastedUrl, read_url, strip_pasted
from gateway.oic.urls import ORACLE_DOMAIN

TOKEN_PATH = "/oauth2/v1/token"  # noqa: S105 - the path of the endpoint, no secret
_TENANT = re.compile(r"idcs-[0-9a-f]{32}", re.IGNORECASE)
_REMEDY = "open Identity & Security, Domains, your domain, and copy `Domain URL`"

# Hosts that are not identity domains, and the problem to report.
_OTHER_HOSTS = (
    (re.compile(r"(?:.+\.)?oracle\.com"), "is an address of the cloud console, not of an identity domain"),
    (
        re.compile(rf"(?:console|cloud|login)\.(?:[a-z0-9.-]+\.)?{ORACLE_DOMAIN}"),
        "is an address of the cloud console, not of an identity domain",
    ),
    (re.compile(rf"identity\.{ORACLE_DOMAIN}"), "is the issuer that all identity domains share, not one of them"),
    (re.compile(rf".+\.ocp\.{ORACLE_DOMAIN}"), "is an address of the OIC instance, not of its identity domain"),
)
# Prefixes of the paths of an identity domain's pages and endpoints, and the change to report.
_PAGES = (
    ("/oauth2/v1/token/", "corrected the path"),
    ("/ui/", "removed the path of the domain's console"),
    ("/.well-known/", "removed the path of the discovery document"),
    ("/oauth2/v1/", "replaced another endpoint"),
    ("/admin/v1/", "removed the path of the domain's administration"),
    ("/sso/v1/", "removed the path of the sign-in page"),
)


def token_url(text: str) -> Corrected:
    """Return the URL of the token endpoint. Raise InvalidInput for a URL that belongs to no identity domain."""
    if _TENANT.fullmatch(strip_pasted(text).value):
        host = strip_pasted(text).value.lower()
        change = f"added the host and {TOKEN_PATH} to the domain's name"
        return Corrected(f"https://{host}.identity.oraclecloud.com{TOKEN_PATH}", (change,))
    url, changes = read_url(text)
    _refuse_other_hosts(url)
    path, path_changes = _endpoint_path(url)
    query = "" if url.is_oracle or path != url.path or not url.query else f"?{url.query}"
    removed = [name for name, is_so in (("query", url.query and not query), ("fragment", url.has_fragment)) if is_so]
    removals = (f"removed the {' and '.join(removed)}",) if removed else ()
    return Corrected(f"{url.origin}{path}{query}", (*changes, *path_changes, *removals))


def _refuse_other_hosts(url: PastedUrl) -> None:
    for hosts, problem in _OTHER_HOSTS:
        if hosts.fullmatch(url.host):
            raise InvalidInput(f"{problem}; {_REMEDY}")


def _endpoint_path(url: PastedUrl) -> tuple[str, tuple[str, ...]]:
    """Return the path of the token endpoint and the changes of the path."""
    path = url.path.lower()
    if url.path == TOKEN_PATH:
        return TOKEN_PATH, ()
    if path.strip("/") == "":
        return TOKEN_PATH, (f"added {TOKEN_PATH}, the token endpoint",)
    change = next((change for prefix, change in _PAGES if f"{path}/".startswith(prefix)), "")
    if change:
        return TOKEN_PATH, (f"{change}; the token endpoint is {TOKEN_PATH}",)
    if url.is_oracle:
        return TOKEN_PATH, (f"removed the path; the token endpoint of an identity domain is {TOKEN_PATH}",)
    if "/.well-known/" in path:
        raise InvalidInput("is a discovery document; open it and copy the value of `token_endpoint`")
    return url.path, ()
