"""What a command line and its environment say of the configuration: a file of it, or one route in flags.

Each option also exists as a variable, like `OIC_GATEWAY_UPSTREAM` for `--upstream`.
"""
# ruff: noqa: PLC0415 - `probe` runs every few seconds and needs none of it

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.model import Config

BAD_CONFIG = 78
PREFIX = "OIC_GATEWAY_"

ONE_ROUTE_FLAGS = {
    "upstream": ("--upstream", "URL", "where the one route leads"),
    "token_url": ("--token-url", "URL", "token endpoint of the identity domain"),
    "client_id": ("--client-id", "ID", "client id of the confidential application"),
    "client_secret_file": ("--client-secret-file", "FILE", "file that holds the client secret"),
    "scope": ("--scope", "SCOPE", "scope of the token"),
    "listen": ("--listen", "HOST:PORT", "where callers connect"),
    "admin": ("--admin", "HOST:PORT", "where health, metrics and status are served"),
}


def reader(options: argparse.Namespace) -> "Callable[[], Loaded]":
    """How the configuration is read, now and at each SIGHUP: from the file, or from flags and variables."""
    file = options.config or os.environ.get(f"{PREFIX}CONFIG")
    if not file:
        return _from_flags(options)
    flags = [flag for name, (flag, _, _) in ONE_ROUTE_FLAGS.items() if getattr(options, name)]
    flags += ["--allow"] if options.allow else []
    names = [env_name(flag) for flag, _, _ in ONE_ROUTE_FLAGS.values() if flag != "--admin"]  # that one is `probe`'s
    flags += [name for name in (*names, f"{PREFIX}ALLOW", f"{PREFIX}CLIENT_SECRET") if os.environ.get(name)]
    if flags:
        exit_config_error(f"oic-gateway serve: {', '.join(flags)} would not count beside {file}; write it there")
    return lambda: read_file(file)


def _from_flags(options: argparse.Namespace) -> "Callable[[], Loaded]":
    from gateway.config.load import Loaded, one_route

    given = {
        name: getattr(options, name) or os.environ.get(env_name(flag)) for name, (flag, _, _) in ONE_ROUTE_FLAGS.items()
    }
    allow = options.allow or [part.strip() for part in os.environ.get(f"{PREFIX}ALLOW", "").split(",") if part.strip()]
    missing = [ONE_ROUTE_FLAGS[name][0] for name in ("upstream", "token_url", "client_id") if not given[name]]
    secret_env = None if given["client_secret_file"] else f"{PREFIX}CLIENT_SECRET"
    if secret_env and secret_env not in os.environ:
        missing.append("--client-secret-file")
    if missing:
        exit_config_error(
            f"oic-gateway serve: without --config, one route needs {', '.join(missing)} "
            f"(each also as a variable, like {PREFIX}UPSTREAM; the secret itself as {PREFIX}CLIENT_SECRET)"
        )
    return lambda: Loaded(
        one_route(
            upstream=given["upstream"] or "",
            token_url=given["token_url"] or "",
            client_id=given["client_id"] or "",
            client_secret_file=given["client_secret_file"],
            client_secret_env=secret_env,
            scope=given["scope"],
            listen=given["listen"],
            admin=given["admin"],
            allow=allow,
            environ=os.environ,
        )
    )


def admin_address(options: argparse.Namespace) -> str:
    """Where the admin port of a running gateway is: as flag, variable or file say."""
    if address := options.admin or os.environ.get(f"{PREFIX}ADMIN"):
        return str(address)
    config = load_if_named(options)
    return "127.0.0.1:9090" if config is None else config.admin


def load_if_named(options: argparse.Namespace) -> "Config | None":
    """The configuration, where a file is named; without its secrets, which one who asks need not have."""
    file = options.config or os.environ.get(f"{PREFIX}CONFIG")
    return read_file(file, check_secrets=False).config if file else None


def file_of(options: argparse.Namespace) -> str:
    """The file of the configuration; the verb ends where none is named."""
    file = options.config or os.environ.get(f"{PREFIX}CONFIG")
    if not file:
        exit_config_error(f"say which file: --config FILE, or {PREFIX}CONFIG")
    return str(file)


def read_file(file: str, *, check_secrets: bool = True) -> "Loaded":
    """Reads the configuration file. Raises ConfigProblems."""
    from gateway.config.load import load

    return load(file, environ=os.environ, check_secrets=check_secrets)


def exit_config_error(told: str) -> NoReturn:
    """Ends the verb: what it was told cannot be used."""
    print(told, file=sys.stderr)  # noqa: T201
    raise SystemExit(BAD_CONFIG)


class NoSecret(argparse.Action):
    """Refuses a secret as a flag's value, where every process of the machine could read it; never shows it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """argparse: the flag was given."""
        parser.error(f"a command line is no place for a secret; use --client-secret-file or {PREFIX}CLIENT_SECRET")


def env_name(flag: str) -> str:
    """The environment variable that says the same as a flag."""
    return PREFIX + flag.removeprefix("--").replace("-", "_").upper()
