"""The `sandbox` verb: serves the imitation until it is told to stop, and prints a configuration that fits."""

import argparse
import asyncio
import ipaddress
import signal
import sys
from collections.abc import Callable

from gateway.sandbox.server import Sandbox
from gateway.sandbox.switches import Switches

_UNAVAILABLE = 69
_BAD_CONFIGURATION = 78

_CONFIG = """\
# An imitation of an identity domain and of an OIC instance is at {origin}
#   export OIC_SANDBOX_SECRET='{secret}'
# then save this as sandbox.yaml, run `oic-gateway serve -c sandbox.yaml`, and try
#   curl http://127.0.0.1:8080/orders/
#   curl -i -d '{{"item":"valve","quantity":3}}' http://127.0.0.1:8080/orders/
listen: 127.0.0.1:8080
admin: 127.0.0.1:9090

credentials:
  sandbox:
    grant: client_credentials
    token_url: {token_url}
    client_id: {client_id}
    client_secret: {{env: OIC_SANDBOX_SECRET}}
    client_auth: basic
    scope: {scope}

routes:
"""

_ROUTE = """\
  - name: {name}{comment}
    path: /{name}/
    upstream: {upstream}
    credential: sandbox
"""

# What the printed configuration says of each trigger.
_TRIGGERS = {
    "ORDERS": "GET list, GET /ID, POST creates",
    "ECHO": "JSON of what arrived; /body: the body itself",
    "ASYNC": "202, empty",
    "BYTES": "/N: N bytes; ?chunked=1",
    "UPLOAD": "takes any body: its length and SHA-256",
    "SLOW": "/SECONDS",
    "STATUS": "/CODE; ?id=0, ?retry_after=N, ?location=URL",
    "DROP": "/before, /reset, /mid, /chunked, /close",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the verb."""
    parser.add_argument("--listen", default="127.0.0.1:8181", metavar="HOST:PORT", help="loopback only; port 0: any")
    parser.add_argument("--token-lifetime", type=_positive, default=3600, metavar="SECONDS", help="life of a token")
    parser.add_argument(
        "--token-delay", type=_seconds, default=0.0, metavar="SECONDS", help="the token endpoint is slow"
    )
    parser.add_argument("--token-budget", type=_positive, metavar="N", help="token requests per minute; more: 429")
    parser.add_argument(
        "--instance-ids", choices=["uuid", "decimal", "none"], default="uuid", help="form of x-oracle-ics-instance-id"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the verb: 0 after SIGTERM or SIGINT, 69 when the address cannot be had, 78 when it is not loopback."""
    switches = Switches(
        token_lifetime=args.token_lifetime,
        token_delay=args.token_delay,
        token_budget_per_minute=args.token_budget,
        instance_ids=args.instance_ids,
    )
    try:
        host, port = parse_listen(args.listen)
    except ValueError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return _BAD_CONFIGURATION
    try:
        asyncio.run(serve(host, port, switches=switches))
    except OSError as error:
        sys.stderr.write(f"sandbox: cannot listen on {args.listen}: {error.strerror or error}\n")
        return _UNAVAILABLE
    return 0


async def serve(
    host: str, port: int, *, switches: Switches | None = None, write: Callable[[str], object] | None = None
) -> None:
    """Serves until SIGTERM or SIGINT; hands the fitting configuration to `write` (default: standard output)."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with Sandbox(switches=switches, host=host, port=port) as sandbox:
        (write or _print)(fitting_config(sandbox))
        await stopped.wait()


def fitting_config(sandbox: Sandbox) -> str:
    """The YAML of a gateway in front of this sandbox, with the secret only in a comment."""
    head = _CONFIG.format(
        origin=sandbox.origin,
        secret=sandbox.client_secret,
        token_url=sandbox.token_url,
        client_id=sandbox.client_id,
        scope=sandbox.scope,
    )
    routes = [
        _ROUTE.format(name=code.lower(), comment=f"  # {words}", upstream=sandbox.upstream(code))
        for code, words in _TRIGGERS.items()
    ]
    soap = _ROUTE.format(name="hello", comment="  # SOAP; ?wsdl", upstream=sandbox.soap_upstream())
    return head + "".join([*routes, soap])


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; raises ValueError with the remedy unless it is a loopback address."""
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{listen!r} is not HOST:PORT, as 127.0.0.1:8181")
    if not _is_loopback(host):
        raise ValueError(f"{host!r} is not a loopback address; the sandbox hands out tokens, use 127.0.0.1 or [::1]")
    # `localhost` may be two addresses, and is the name of the design host here.
    return "127.0.0.1" if host == "localhost" else host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 3600:
        raise ValueError
    return number


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
