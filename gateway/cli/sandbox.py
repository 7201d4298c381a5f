"""The command `sandbox`: run the sandbox until a signal stops it, and print a configuration for it."""

import argparse
import asyncio
import ipaddress
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from gateway.content.untrusted_text import split_host_port
from gateway.sandbox.config_file import full_config, render
from gateway.sandbox.mistakes import MISTAKES, list_mistakes
from gateway.sandbox.sandbox_server import Sandbox
from gateway.sandbox.scenario import CONFIG, SECRET, run_mistake, write_ca, write_private
from gateway.sandbox.switches import InstanceIds, Switches, read_setting

EXAMPLE = "oic-gateway sandbox --folder sandbox"
EXIT_STATUS = {
    0: "stopped by a signal",
    69: "the address or the folder cannot be used",
    78: "the address is not a loopback address",
}
_UNAVAILABLE = 69
_BAD_CONFIG = 78

_SAVE = """\
  export OIC_SANDBOX_SECRET='{secret}'
then save this as sandbox.yaml, run `oic-gateway serve -c sandbox.yaml`, and try"""
_SAVED = "Run `oic-gateway serve -c {file}`, and try"
_TRY = """
  curl http://127.0.0.1:8080/orders/
  curl -i -d '{"item":"valve","quantity":3}' http://127.0.0.1:8080/orders/"""

RunningSandbox = AbstractAsyncContextManager[tuple[Sandbox, str]]


class FolderError(Exception):
    """There is no folder for the files that the configuration names; the message has the reason and the remedy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--listen", default="127.0.0.1:8181", metavar="HOST:PORT", help="loopback address; port 0: any free port"
    )
    parser.add_argument("--token-lifetime", type=_positive, metavar="SECONDS", help="lifetime of a token")
    parser.add_argument("--token-delay", type=_seconds, metavar="SECONDS", help="delay of the token endpoint")
    parser.add_argument(
        "--token-budget", type=_positive, metavar="N", help="token requests per minute; above it, status 429"
    )
    parser.add_argument("--instance-ids", choices=get_args(InstanceIds), help="form of x-oracle-ics-instance-id")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="set any switch; may be repeated; an unknown name lists all",
    )
    parser.add_argument(
        "--mistake",
        type=_mistake,
        action=_MistakeAction,
        metavar="CODE",
        help="imitate this set-up mistake; the printed configuration contains it; list: print all",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="folder for the configuration and the files that it names"
    )


def run(args: argparse.Namespace) -> int:
    """Run the sandbox until SIGTERM or SIGINT. Return the exit status."""
    try:
        host, port = parse_listen(args.listen)
    except ValueError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return _BAD_CONFIG
    try:
        with ExitStack() as stack:
            make_folder = partial(_make_folder, args.folder, stack)
            asyncio.run(serve(_make_sandbox(args, make_folder, host=host, port=port)))
    except FolderError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return _UNAVAILABLE
    except OSError as error:
        reason = error.strerror or error
        what = f"cannot listen on {args.listen}: {reason}; use another address with --listen"
        if error.filename:
            what = f"cannot use {error.filename}: {reason}; name another folder with --folder"
        sys.stderr.write(f"sandbox: {what}\n")
        return _UNAVAILABLE
    return 0


def read_switches(args: argparse.Namespace) -> dict[str, Any]:
    """Return the switches that the options set; `--set` overrides other options, and the last `--set` wins."""
    named = {
        "token_lifetime": args.token_lifetime,
        "token_delay": args.token_delay,
        "token_budget_per_minute": args.token_budget,
        "instance_ids": args.instance_ids,
    }
    return {name: value for name, value in named.items() if value is not None} | dict(args.set)


async def serve(run_sandbox: RunningSandbox, *, show: Callable[[str], object] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; pass the configuration to `show` (default: standard output)."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with run_sandbox as (_, config):
        (show or _print)(config)
        await stopped.wait()


def inline_config(sandbox: Sandbox, *, ca: str = "") -> str:
    """Return the YAML of a gateway with all routes of this sandbox. The secret is only in a comment.

    `ca` is the file of the sandbox's certificate authority, if it has one.
    """
    document = full_config(sandbox, {"env": "OIC_SANDBOX_SECRET"}, ca=ca)
    return render(sandbox, document, how=_SAVE.format(secret=sandbox.client_secret) + _TRY)


def write_config(sandbox: Sandbox, folder: Path) -> str:
    """Write the configuration and its secret file to the folder; return the YAML. Raise OSError."""
    write_private(folder / SECRET, sandbox.client_secret)
    document = full_config(sandbox, {"file": str(folder / SECRET)}, ca=write_ca(sandbox, folder))
    config = render(sandbox, document, how=_SAVED.format(file=folder / CONFIG) + _TRY)
    write_private(folder / CONFIG, config)
    return config


def parse_listen(listen: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`. Raise ValueError with the remedy unless it is a loopback address."""
    host_port = split_host_port(listen)
    if host_port is None:
        raise ValueError(f"{listen!r} is not HOST:PORT; write it like 127.0.0.1:8181")
    host, port = host_port
    if not _is_loopback(host):
        raise ValueError(f"{host!r} is not a loopback address; the sandbox issues tokens, use 127.0.0.1 or [::1]")
    # `localhost` may be two addresses, and is the name of the sandbox's design host.
    return "127.0.0.1" if host == "localhost" else host, port


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


class _MistakeAction(argparse.Action):
    """Store the name of the mistake; `list` prints all names and exits."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: object) -> None:
        if values == "list":
            _print(list_mistakes())
            parser.exit()
        setattr(namespace, self.dest, values)


def _make_folder(folder: Path | None, stack: ExitStack) -> Path:
    """Return the folder of the options, created if it does not exist; else a temporary one that `stack` removes.

    Raise FolderError if no temporary folder can be created, for example with a read-only root.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return folder.resolve()
    try:
        return Path(stack.enter_context(TemporaryDirectory(prefix="oic-sandbox-", ignore_cleanup_errors=True)))
    except OSError as cause:
        raise FolderError(
            "cannot create a temporary folder for the files that the printed configuration names: "
            f"{cause.strerror or cause}; name a writable folder with --folder, or set TMPDIR to one"
        ) from cause


def _make_sandbox(args: argparse.Namespace, make_folder: Callable[[], Path], *, host: str, port: int) -> RunningSandbox:
    switches = read_switches(args)
    if args.mistake:
        return run_mistake(args.mistake, make_folder(), more=switches, host=host, port=port)
    sandbox = Sandbox(switches=Switches(**switches), host=host, port=port)
    return _run_without_mistake(sandbox, make_folder, has_folder=args.folder is not None)


@asynccontextmanager
async def _run_without_mistake(
    sandbox: Sandbox, make_folder: Callable[[], Path], *, has_folder: bool
) -> AsyncIterator[tuple[Sandbox, str]]:
    """Run the sandbox. A named folder gets the configuration and its files. Without one, only the file of a certificate
    authority is written, so that a read-only container can run the sandbox.
    """
    async with sandbox:
        if has_folder:
            config = write_config(sandbox, make_folder())
        else:
            config = inline_config(sandbox, ca=write_ca(sandbox, make_folder()) if sandbox.ca else "")
        yield sandbox, config


def _mistake(name: str) -> str:
    if name not in {*MISTAKES, "list"}:
        raise argparse.ArgumentTypeError(f"there is no mistake {name!r}; the mistakes are\n{list_mistakes()}")
    return name


def _setting(word: str) -> tuple[str, Any]:
    try:
        return read_setting(word)
    except ValueError as cause:
        raise argparse.ArgumentTypeError(str(cause)) from cause


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
