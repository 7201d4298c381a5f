"""Plays a set-up mistake whole: a sandbox with its switches, and the configuration and files that it needs."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from gateway.sandbox.clients import DEFAULT_ID, default_clients
from gateway.sandbox.config_file import Document, narrow, text
from gateway.sandbox.mistakes import MISTAKES, PlayableMistake, code_of
from gateway.sandbox.sandbox_server import Sandbox
from gateway.sandbox.switches import Grant, Switches

CONFIG, SECRET = "sandbox.yaml", "client-secret"
"""The names of the printed configuration and of the client secret in the folder."""

_CA = "sandbox-ca.pem"
_HOW = """\
It plays the mistake {name}: {plays}
  oic-gateway check --live -c {file}
finds {code}. No more is written here than that takes: without --mistake all of the sandbox is"""


@asynccontextmanager
async def played(
    name: str, folder: Path, *, more: Mapping[str, Any] | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[tuple[Sandbox, str]]:
    """The sandbox that plays the mistake of that key, running, and the configuration in front of it.

    That, the secret and all that it names is written into `folder`, which exists; `more` are switches that count more
    than the mistake's own. Raises OSError when the address cannot be had, or a file not be written.
    """
    row = MISTAKES[name]
    clients = {DEFAULT_ID: replace(default_clients()[DEFAULT_ID], grants=frozenset(get_args(Grant)))}
    switches = Switches(**{**row.switches, **(more or {})})
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # a port that is taken and on which nobody listens refuses
        async with Sandbox(switches=switches, clients=clients, host=host, port=port) as sandbox:
            places = _places(sandbox, folder, closed=closed.getsockname()[1])
            document = _document(sandbox, folder, row, places)
            for further, content in row.files.items():
                write(folder / further, content or _private_key())
            file = folder / CONFIG
            config = text(sandbox, document, how=_HOW.format(name=name, plays=row.plays, code=code_of(name), file=file))
            write(file, config)
            yield sandbox, config


def tell_ca(sandbox: Sandbox, folder: Path) -> str:
    """Writes the sandbox's authority into the folder; gives the file's path, empty where there is none to tell."""
    if not sandbox.ca:
        return ""
    write(folder / _CA, sandbox.ca)
    return str(folder / _CA)


def write(file: Path, content: str) -> None:
    """Writes what may be secret: only the file's owner may read it."""
    file.touch(0o600)
    file.write_text(content, encoding="utf-8")


def _document(sandbox: Sandbox, folder: Path, row: PlayableMistake, places: Mapping[str, str]) -> Document:
    write(folder / SECRET, row.secret)
    document = narrow(sandbox, {"file": str(folder / SECRET)}, ca=tell_ca(sandbox, folder))
    credential, [route] = document["credentials"]["sandbox"], document["routes"]
    _change(credential, row.credential, places)
    _change(route, row.route, places)
    return {**_filled(row.file, places), **document}


def _change(part: Document, keys: Mapping[str, Any], places: Mapping[str, str]) -> None:
    part |= _filled(keys, places)
    for key in [key for key, value in part.items() if value is None]:
        del part[key]


def _places(sandbox: Sandbox, folder: Path, *, closed: int) -> dict[str, str]:
    return {
        "origin": sandbox.origin,
        "design": sandbox.design_origin,
        "host": urlsplit(sandbox.origin).netloc,
        "folder": str(folder),
        "closed": f"127.0.0.1:{closed}",
    }


def _filled(value: Any, places: Mapping[str, str]) -> Any:
    """The value with the names of `row.Mistake` replaced in all of its texts."""
    if isinstance(value, Mapping):
        return {key: _filled(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, places) for item in value]
    return value.format_map(places) if isinstance(value, str) else value


def _private_key() -> str:
    from gateway.sandbox.certificates import private_key  # noqa: PLC0415 - few want one, and x509 is large

    return private_key()
