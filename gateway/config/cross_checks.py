"""Checks across keys: names that must exist or differ, paths that clash, addresses that require `allow`. Pure.

The checks use the plain values of the file, not the model, so that they work even if other keys are wrong. The model
itself reports values of the wrong type.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.config.caller_rules import check_callers
from gateway.config.console_rules import check_console
from gateway.config.credential_rules import check_credential
from gateway.config.default_addresses import DEFAULT_ADMIN
from gateway.config.issue import ConfigIssue, Steps, dotted_path, is_plain
from gateway.config.messages import did_you_mean
from gateway.config.model import Config
from gateway.config.review import review
from gateway.config.service_rules import check_services
from gateway.config.telemetry_rules import check_telemetry
from gateway.config.values import has_dot_segment, is_local, is_loopback, split_address
from gateway.content.untrusted_text import DEFAULT_PORTS, is_loopback_host, normalize_host, read_url

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound

_LOOP = "leads to this gateway itself"
_PATH_ISSUES = (
    (re.compile(r"//"), "has an empty segment (`//`)", "write single slashes"),
    (re.compile(r"%2f", re.IGNORECASE), "has an encoded slash (`%2f`)", "write a plain path"),
    (re.compile(r"%2e", re.IGNORECASE), "has an encoded dot (`%2e`)", "write the dot itself"),
    (re.compile(r"%00"), "has an encoded NUL (`%00`)", "remove it"),
    (re.compile(r"[?#]"), "has a `?` or `#`", "remove what follows the path"),
    (re.compile(r"\\"), "has a backslash", "write slashes"),
    (re.compile(r"[^!-~]"), "has a space or non-ASCII character", "percent-encode it"),
    (re.compile(r"%(?![0-9A-Fa-f]{2})"), "has a `%` without two hex digits", "write %25 for a percent sign"),
)


def cross_check(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of the whole file; `tree` is its plain value."""
    yield from _addresses(tree)
    yield from _remote_quit(tree)
    yield from _client_certificates(tree)
    yield from _loops(tree)
    yield from _references(tree)
    yield from _duplicates(tree)
    for steps, path in _route_texts(tree, "path"):
        yield from _path_issues(steps, path)
    yield from _unencrypted_urls(tree)
    yield from check_callers(tree)
    yield from check_telemetry(tree)
    yield from check_console(tree, next((text for _, text in _admin_address(tree)), None))
    yield from review(tree)
    yield from _unstored_refresh_tokens(tree)
    yield from check_services(tree, [upstream for _, upstream in _route_texts(tree, "upstream")])
    for name, credential in _mapping(tree.get("credentials")).items():
        yield from check_credential(("credentials", name), _mapping(credential))


def _addresses(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    found = [*_listen_addresses(tree), *_admin_address(tree)]
    for steps, text in found:
        if not is_loopback(text) and not tree.get("allow"):
            what = "can be reached from other machines, but `allow` names no network"
            yield ConfigIssue(steps, what, "add `allow: [10.0.0.0/8]` with your networks, or use 127.0.0.1")
    for index, (steps, text) in enumerate(found):
        other = next(
            (steps for steps, one in found[:index] if _is_clash(split_address(one), split_address(text))), None
        )
        if other is not None:
            place, other = (other, steps) if steps[0] not in tree else (steps, other)
            yield ConfigIssue(place, f"is the same address as `{dotted_path(other)}`", "change one of the ports")


def _remote_quit(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield an issue if other machines could stop the gateway."""
    for _, text in _admin_address(tree):
        if tree.get("admin_quit") is True and not is_loopback(text):
            remedy = f"set `admin` to {DEFAULT_ADMIN} or unix:/path, or remove `admin_quit`"
            yield ConfigIssue(("admin_quit",), "lets other machines stop the gateway: `admin` is not loopback", remedy)


def _client_certificates(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield a warning for each listener whose `client_ca` looks like a requirement but is none."""
    listen, fallback = tree.get("listen"), _mapping(tree.get("defaults")).get("callers")
    if fallback is not None or all(route.get("callers") is not None for _, route in _routes(tree)):
        return
    for index, entry in enumerate(listen if isinstance(listen, list) else ()):
        tls = _mapping(_mapping(entry).get("tls"))
        if tls.get("client_ca") is not None and tls.get("client_certificate") is None:
            what = "does not keep out callers without a certificate: a route has no `callers`"
            remedy = "set `client_certificate: required`, or `optional` if this is intended"
            yield ConfigIssue(("listen", index, "tls", "client_ca"), what, remedy, severity="warning")


def _listen_addresses(tree: Mapping[str, Any]) -> list[tuple[Steps, str]]:
    """Return the well-formed addresses for callers with their steps."""
    value = tree.get("listen", Config.model_fields["listen"].default)
    entries: list[tuple[Steps, Any]] = [(("listen",), value)]
    if isinstance(value, list):
        entries = [(("listen", index), entry) for index, entry in enumerate(value)]
    found = [
        ((*steps, "address"), entry.get("address")) if isinstance(entry, dict) else (steps, entry)
        for steps, entry in entries
    ]
    return [(steps, text) for steps, text in found if isinstance(text, str) and _is_address(text)]


def _admin_address(tree: Mapping[str, Any]) -> list[tuple[Steps, str]]:
    text = tree.get("admin", Config.model_fields["admin"].default)
    return [(("admin",), text)] if isinstance(text, str) and _is_address(text) else []


def _loops(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of URLs that lead back to the gateway: a request to one would loop."""
    addresses, public = [*_listen_addresses(tree), *_admin_address(tree)], _public_addresses(tree)
    for steps, where in _targets(tree):
        if place := next((place for place, text in addresses if _is_listen_address(where, text)), None):
            what = f"{_LOOP}: `{dotted_path(place)}` is this address"
            yield ConfigIssue(steps, what, _loop_remedy(steps))
        elif where in public:
            what = f"{_LOOP}, by the name of `public_url` or `hosts`"
            yield ConfigIssue(steps, what, _loop_remedy(steps), severity="warning")


def check_own_hosts(tree: Mapping[str, Any], is_own_host: Callable[[str], bool]) -> Iterator[ConfigIssue]:
    """Yield warnings of URLs to another address or name of this machine, on a port of all its addresses. `is_own_host`
    knows these. The gateway may run on another machine than the check.
    """
    addresses = [text for _, text in (*_listen_addresses(tree), *_admin_address(tree))]
    ports = {port for host, port in map(split_address, addresses) if normalize_host(host) in _ALL_ADDRESSES}
    public = _public_addresses(tree)
    for steps, where in _targets(tree) if ports else ():
        if where[1] not in ports or where in public:
            continue
        if not any(_is_listen_address(where, text) for text in addresses) and is_own_host(where[0]):
            what = f"{_LOOP}, if it runs on this machine: it listens on all addresses"
            yield ConfigIssue(steps, what, _loop_remedy(steps), severity="warning")


def _targets(tree: Mapping[str, Any]) -> Iterator[tuple[Steps, tuple[str, int]]]:
    """Yield host and port of each URL that the gateway sends requests to."""
    credentials = _mapping(tree.get("credentials")).items()
    urls = [(("credentials", name, "token_url"), _mapping(value).get("token_url")) for name, value in credentials]
    for steps, url in (*_route_texts(tree, "upstream"), *_route_texts(tree, "design"), *urls):
        named = read_url(url) if isinstance(url, str) else None
        if named is not None and named.scheme in DEFAULT_PORTS:
            yield steps, (normalize_host(named.host), named.effective_port)


def _loop_remedy(steps: Steps) -> str:
    return "write the URL of OIC" if steps[-1] != "token_url" else "write the URL of the identity domain"


def _is_listen_address(where: tuple[str, int], text: str) -> bool:
    """Return whether a host and port are the address that the gateway listens on."""
    if text.startswith("unix:"):
        return False
    host, port = split_address(text)
    bound = normalize_host(host)
    if port != where[1]:
        return False
    return where[0] == bound or (is_loopback_host(where[0]) and (is_loopback_host(bound) or bound in _ALL_ADDRESSES))


def _public_addresses(tree: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Return host and port of `public_url`, and the names of `hosts` with the ports of `listen`."""
    places: set[tuple[str, int]] = set()
    url = tree.get("public_url")
    public = read_url(url) if isinstance(url, str) else None
    if public is not None and public.scheme in DEFAULT_PORTS:
        places.add((normalize_host(public.host), public.effective_port))
    hosts = tree.get("hosts")
    ports = [split_address(text)[1] for _, text in _listen_addresses(tree) if not text.startswith("unix:")]
    names = [normalize_host(host) for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []
    return places | {(name, port) for name in names for port in ports}


def _is_address(text: str) -> bool:
    try:
        split_address(text)
    except ValueError:
        return False
    return True


def _is_clash(one: tuple[str, int], other: tuple[str, int]) -> bool:
    hosts = {"127.0.0.1" if host.lower() == "localhost" else host.lower() for host, _ in (one, other)}
    if one[1] != other[1]:
        return False
    if hosts == {one[0]} and one[0].startswith("/"):
        return True
    return one[1] != 0 and (len(hosts) == 1 or bool(hosts & {"0.0.0.0", "::"}))  # noqa: S104 - compared, not bound


def _references(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    known = tree.get("credentials")
    if not isinstance(known, dict):
        return
    fallback = _mapping(tree.get("defaults")).get("credential")
    named = _route_texts(tree, "credential")
    if isinstance(fallback, str):
        named.insert(0, (("defaults", "credential"), fallback))
    for steps, name in named:
        if name not in known:
            yield _unknown_credential(steps, name, known)
    for index, route in _routes(tree):
        if route.get("credential") is None and fallback is None:
            yield ConfigIssue(("routes", index), "has no credential", "add `credential: NAME` here or under `defaults`")
    used = {name for _, name in named}
    for name in known:
        if name not in used:
            remedy = "remove it, or use it in a route"
            yield ConfigIssue(("credentials", name), "is not used by any route", remedy, severity="warning")


def _unknown_credential(steps: Steps, name: str, known: Mapping[str, Any]) -> ConfigIssue:
    shown = f"names the credential `{name}`" if is_plain(name) else "names a credential"
    otherwise = f"the credentials are {', '.join(filter(is_plain, sorted(known)))}"
    return ConfigIssue(steps, f"{shown} that does not exist", did_you_mean(name, known, otherwise=otherwise))


def _duplicates(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    for key, remedy in (("name", "rename one route"), ("path", "merge the routes, or change one path")):
        first: dict[str, Any] = {}
        for steps, text in _route_texts(tree, key):
            bare = text.rstrip("/") if key == "path" else text
            if bare in first:
                other: Steps = ("routes", first[bare], key)
                yield ConfigIssue(steps, "is the same as that of {other}", remedy, other=other)
            first.setdefault(bare, steps[1])


def _path_issues(steps: Steps, path: str) -> Iterator[ConfigIssue]:
    if has_dot_segment(path):
        yield ConfigIssue(steps, "has a `.` or `..` segment", "write the resolved path")
        return
    row = next((row for row in _PATH_ISSUES if row[0].search(path)), None)
    if row:
        yield ConfigIssue(steps, *row[1:])


def _unencrypted_urls(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of URLs to which secrets or tokens would be sent unencrypted without `insecure`."""
    credentials = [(("credentials", name), each) for name, each in _mapping(tree.get("credentials")).items()]
    routes = [(("routes", index), route) for index, route in _routes(tree)]
    for places, keys, what, where in (
        (credentials, ("token_url", "authorize_url", "revoke_url"), "the client secret", "credential"),
        (routes, ("upstream", "design"), "the token", "route"),
    ):
        for steps, value in places:
            settings = _mapping(value)
            for key in keys:
                url = settings.get(key)
                if isinstance(url, str) and _is_unencrypted(url) and settings.get("insecure") is not True:
                    remedy = f"use https, or set `insecure: true` in the {where} if the network is trusted"
                    yield ConfigIssue((*steps, key), f"sends {what} unencrypted", remedy)


def _is_unencrypted(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and not is_local(parts.hostname or "")
    except ValueError:
        return False


def _unstored_refresh_tokens(tree: Mapping[str, Any]) -> Iterator[ConfigIssue]:
    """Yield issues of refresh tokens without a store: `login` is another process, and a server may rotate the token."""
    if tree.get("state") is not None:
        return
    remedy = "add `state: {path: FILE, keys: [{file: KEY}]}`, or one with `redis`"
    for name, credential in _mapping(tree.get("credentials")).items():
        grant, steps = _mapping(credential).get("grant"), ("credentials", name, "grant")
        if grant == "authorization_code":
            yield ConfigIssue(steps, "requires `state` at the top level of the file, which stores the sign-in", remedy)
        if grant == "refresh_token":
            what = "requires `state` at the top level: a rotated refresh token is lost when the gateway stops"
            yield ConfigIssue(steps, what, remedy, severity="warning")


def _routes(tree: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    routes = tree.get("routes")
    return (
        [(index, route) for index, route in enumerate(routes) if isinstance(route, dict)]
        if isinstance(routes, list)
        else []
    )


def _route_texts(tree: Mapping[str, Any], key: str) -> list[tuple[Steps, str]]:
    found = ((("routes", index, key), route.get(key)) for index, route in _routes(tree))
    return [(steps, text) for steps, text in found if isinstance(text, str)]


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
