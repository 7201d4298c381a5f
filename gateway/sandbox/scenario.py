"""Runs a set-up mistake: a sandbox with its switches, and the configuration and files that it needs."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from gateway.sandbox.clients import DEFAULT_ID, default_clients
from gateway.sandbox.config_file import Document, minimal_config, render
from gateway.sandbox.mistakes import MISTAKES, ReproducibleMistake, code_of
from gateway.sandbox.sandbox_server import Sandbox
from gateway.sandbox.switches import GrantName, Switches

CONFIG, SECRET = "sandbox.yaml", "client-secret"
"""The names of the printed configuration and of the client secret in the folder."""

_CA = "sandbox-ca.pem"
_HOW = """\
It imitates the mistake {name}: {summary}
  oic-gateway check --live -c {file}
finds {code}. This file has only what the mistake needs; without --mistake it has all of the sandbox"""


@asynccontextmanager
async def run_mistake(
    name: str, folder: Path, *, more: Mapping[str, Any] | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[tuple[Sandbox, str]]:
    """Run the sandbox with that mistake, and yield it with the configuration of a gateway for it.

    The configuration, the secret and other files are written into `folder`, which must exist; `more` are switches that
    override those of the mistake. Raise OSError if the address is not available or a file cannot be written.
    """
    mistake = MISTAKES[name]
    clients = {DEFAULT_ID: replace(default_clients()[DEFAULT_ID], grants=frozenset(get_args(GrantName)))}
    switches = Switches(**{**mistake.switches, **(more or {})})
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # a bound port without a listener refuses
        async with Sandbox(switches=switches, clients=clients, host=host, port=port) as sandbox:
            placeholders = _placeholders(sandbox, folder, closed=closed.getsockname()[1])
            document = _document(sandbox, folder, mistake, placeholders)
            for further, content in mistake.files.items():
                write_private(folder / further, content or _private_key())
            file = folder / CONFIG
            config = render(
                sandbox, document, how=_HOW.format(name=name, summary=mistake.summary, code=code_of(name), file=file)
            )
            write_private(file, config)
            yield sandbox, config


def write_ca(sandbox: Sandbox, folder: Path) -> str:
    """Write the sandbox's authority into the folder. Return the path, empty if there is none to publish."""
    if not sandbox.ca:
        return ""
    write_private(folder / _CA, sandbox.ca)
    return str(folder / _CA)


def write_private(file: Path, content: str) -> None:
    """Write a file that only its owner can read."""
    file.touch(0o600)
    file.write_text(content, encoding="utf-8")


def _document(
    sandbox: Sandbox, folder: Path, mistake: ReproducibleMistake, placeholders: Mapping[str, str]
) -> Document:
    write_private(folder / SECRET, mistake.secret)
    document = minimal_config(sandbox, {"file": str(folder / SECRET)}, ca=write_ca(sandbox, folder))
    credential, [route] = document["credentials"]["sandbox"], document["routes"]
    _update(credential, mistake.credential, placeholders)
    _update(route, mistake.route, placeholders)
    return {**_expand(mistake.file, placeholders), **document}


def _update(part: Document, keys: Mapping[str, Any], placeholders: Mapping[str, str]) -> None:
    part |= _expand(keys, placeholders)
    for key in [key for key, value in part.items() if value is None]:
        del part[key]


def _placeholders(sandbox: Sandbox, folder: Path, *, closed: int) -> dict[str, str]:
    return {
        "origin": sandbox.origin,
        "design": sandbox.design_origin,
        "host": urlsplit(sandbox.origin).netloc,
        "folder": str(folder),
        "closed": f"127.0.0.1:{closed}",
    }


def _expand(value: Any, placeholders: Mapping[str, str]) -> Any:
    """Return the value with the placeholders of `ReproducibleMistake` replaced in all of its texts."""
    if isinstance(value, Mapping):
        return {key: _expand(item, placeholders) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, placeholders) for item in value]
    return value.format_map(placeholders) if isinstance(value, str) else value


def _private_key() -> str:
    from gateway.sandbox.certificates import private_key  # noqa: PLC0415 - few want one, and x509 is large

    return private_key()
