"""The command `probe`: query a gateway's admin port for readiness or liveness, as a container's health check does.

It uses the standard library alone and no event loop, since it runs every few seconds.
"""

import argparse
import sys
from typing import Any

from gateway.admin.client import AdminUnavailable, fetch, parse_object
from gateway.cli.options import add_admin_argument, add_file_arguments, admin_address

EXAMPLE = "oic-gateway probe --admin 127.0.0.1:9090"
EXIT_STATUS = {0: "ready (with --liveness: alive)", 1: "not ready, or no response", 78: ""}
_MAX_BYTES = 256 * 1024  # of a readiness document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_file_arguments(parser)
    add_admin_argument(parser)
    parser.add_argument(
        "--liveness", action="store_true", help="query /livez: does every worker respond, with or without tokens"
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=5.0, help="longest wait, default 5")


def run(options: argparse.Namespace) -> int:
    """Print one line. Return 0 if the gateway is ready (or alive), else 1."""
    is_good, line = probe(admin_address(options), options.timeout, liveness=options.liveness)
    sys.stdout.write(f"{line}\n")
    return 0 if is_good else 1


def probe(address: str, timeout: float = 3.0, *, liveness: bool = False) -> tuple[bool, str]:
    """Return whether the gateway with the admin port at `address` is ready, and one line with the cause if not.

    `address` is the one in the configuration; it may be `0.0.0.0:9090` or `[::]:9090`. `timeout` in seconds applies to
    each step of the exchange. With `liveness`, return whether the gateway is alive. It raises nothing: a gateway that
    cannot be reached is neither ready nor alive.
    """
    try:
        status, body = fetch(address, "/livez" if liveness else "/readyz", timeout=timeout, limit=_MAX_BYTES)
    except AdminUnavailable as error:
        return False, _printable(str(error))
    document = parse_object(body)
    return status == 200 and "state" in document, _printable(_describe(status, document))


def _describe(status: int, document: dict[str, Any]) -> str:
    """Return the state, then each credential without a token and the cause."""
    state = document.get("state") or document.get("detail") or f"the response {status} is not that of a gateway"
    credentials = document.get("credentials")
    problems = [
        f"{name}: {facts['error']}"
        for name, facts in (credentials.items() if isinstance(credentials, dict) else ())
        if isinstance(facts, dict) and facts.get("error")
    ]
    return "; ".join((str(state), *problems))


def _printable(text: str) -> str:
    """Return `text` on one line, without control characters for a terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
