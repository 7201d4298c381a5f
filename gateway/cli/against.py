"""Compare a configuration with another file, or with the one that a gateway runs: `check --against`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway.cli.admin_query import MAX_BYTES, TIMEOUT, QueryFailed
from gateway.config.difference import (
    ConfigDifference,
    canonical_form,
    compare,
    digest_form,
    fingerprint,
)

if TYPE_CHECKING:
    from gateway.config.load import Loaded

_USAGE = 2


def compare_with(loaded: "Loaded", other: str) -> ConfigDifference:
    """Return what differs in `loaded` from another configuration: that of a file, or of the gateway whose admin port is
    at `http://HOST:PORT` or `unix:/PATH`. Raise ConfigProblems for a wrong file, QueryFailed if no gateway responds.
    """
    address = _admin_address(other)
    tree = _canonical(loaded)
    if address is None:
        from gateway.config.load import load  # noqa: PLC0415 - brings pydantic

        return compare(_canonical(load(other, environ=os.environ, check_secrets=False)), tree)
    running = _fetch(address)
    difference = compare(running["keys"], digest_form(tree))
    if not difference and running["fingerprint"] != fingerprint(tree):
        return ConfigDifference(changed=("a value",))  # one in 65536 changes of a value has the same digest
    return difference


def difference_lines(difference: ConfigDifference) -> Iterator[str]:
    """Yield the difference as lines for a terminal."""
    if not difference:
        yield "no difference"
    yield from difference.lines()
    if difference.restart:
        yield f"restart needed: {', '.join(difference.restart)}"
    yield from (f"sign-in needed: {name}; run `oic-gateway login {name}`" for name in difference.sign_in)


def _canonical(loaded: "Loaded") -> dict[str, Any]:
    return canonical_form(loaded.config, str(Path(loaded.files[0].path).parent) if loaded.files else "")


def _admin_address(text: str) -> str | None:
    """Return the address of an admin port, None for a file. Raise QueryFailed for a URL that is no admin port's."""
    if text.startswith("unix:"):
        return text
    if "://" not in text:
        return None
    try:
        url = urlsplit(text)
        port = url.port or 80
    except ValueError:
        url, port = urlsplit(""), 0
    if url.scheme != "http" or not url.hostname or url.path not in {"", "/"} or url.query:
        message = "--against needs a file, or the admin port of a gateway, like http://127.0.0.1:9090 or unix:/PATH"
        raise QueryFailed(message, status=_USAGE)
    return f"[{url.hostname}]:{port}" if ":" in url.hostname else f"{url.hostname}:{port}"


def _fetch(address: str) -> dict[str, Any]:
    """Return the document `/configuration` of a gateway."""
    from gateway.admin.client import AdminUnavailable, fetch, parse_object  # noqa: PLC0415 - only for a gateway

    try:
        status, body = fetch(address, "/configuration", timeout=TIMEOUT, limit=MAX_BYTES)
    except AdminUnavailable as error:
        raise QueryFailed(f"no gateway responds at {error}") from None
    document = parse_object(body)
    if status != 200 or not isinstance(document.get("keys"), dict):
        detail = document.get("detail") or "it is not a gateway, or one of an earlier version"
        raise QueryFailed(f"the gateway at {address} does not describe its configuration ({status}): {detail}")
    return document
