"""Where a command reads its configuration: a file, or one route from options and environment variables.

The file is FILE or `-c FILE`, else that of `OIC_GATEWAY_CONFIG`. Without a file, the options describe one route; each
is also a variable, such as `OIC_GATEWAY_UPSTREAM` for `--upstream`. Without any of these, the file is
`./gateway.yaml`.
"""
# ruff: noqa: PLC0415 - `probe` runs every few seconds and needs none of it

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from gateway.cli.commands import did_you_mean
from gateway.config.default_addresses import DEFAULT_ADMIN
from gateway.config.issue import ConfigProblems, LocatedIssue

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.model import Config
    from gateway.diagnosis import Finding

T = TypeVar("T")

DEFAULT_FILE = "gateway.yaml"
_USAGE, _BAD_CONFIG, _UNAVAILABLE = 2, 78, 69
_PREFIX = "OIC_GATEWAY_"
_CONFIG, _ALLOW, _SECRET, _ADMIN = (_PREFIX + word for word in ("CONFIG", "ALLOW", "CLIENT_SECRET", "ADMIN"))

_SETTINGS = {
    "upstream": ("URL", "upstream of the one route"),
    "token_url": ("URL", "token endpoint of the identity domain"),
    "client_id": ("ID", "client id of the confidential application"),
    "client_secret_file": ("FILE", "file that contains the client secret"),
    "scope": ("SCOPE", "scope of the token"),
    "listen": ("HOST:PORT", "address for callers, or several, separated by commas"),
    "admin": ("HOST:PORT", "address of health, metrics and status"),
}
"""The settings of one route: form of the value, meaning."""
_REQUIRED = ("upstream", "token_url", "client_id")

# Kubernetes sets these for each Service whose name begins with `oic-gateway`.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")
_SHOWN_COMMAND = re.compile(
    r"`(oic-gateway (?:serve|check|token|login|logout|rotate|probe|instances|usage|user)\b[^`]*)`"
)


class Source(NamedTuple):
    """Where a configuration comes from: its name for a person, and a function that reads it, now and at each SIGHUP."""

    name: str
    read: "Callable[[], Loaded]"


class NoSecret(argparse.Action):
    """Reject a secret as the value of an option, since every process of the machine could read it. Never show it.

    `const` names what to use instead.
    """

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Exit with a usage error."""
        parser.error(f"other processes can read the command line; do not write a secret there, use {self.const}")


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare FILE and `--config`, which both name the configuration file."""
    parser.add_argument("file", metavar="FILE", nargs="?", help=f"configuration file; default ./{DEFAULT_FILE}")
    parser.add_argument("-c", "--config", metavar="FILE", help=f"the same as an option (or {_CONFIG})")


def add_admin_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the address of the admin port."""
    parser.add_argument(
        "--admin", metavar="HOST:PORT", help=f"admin address, in place of the configuration's (or {_ADMIN})"
    )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the configuration file, and the options of one route without a file."""
    add_file_arguments(parser)
    route = parser.add_argument_group("one route without a configuration file")
    for setting, (form, meaning) in _SETTINGS.items():
        route.add_argument(_flag(setting), metavar=form, help=f"{meaning} (or {_variable(setting)})")
    route.add_argument(
        "--allow",
        metavar="CIDR",
        action="append",
        default=[],
        help=f"network of callers; may be repeated (or {_ALLOW}, separated by commas)",
    )
    instead = f"--client-secret-file or {_SECRET}"
    route.add_argument("--client-secret", action=NoSecret, const=instead, help=argparse.SUPPRESS)


def add_credential_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the name of a credential."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a credential; may be omitted if there is only one")


def read_configuration(options: argparse.Namespace) -> Source:
    """Return the source of the configuration. Raise ConfigProblems if nothing names one."""
    file = _named_file(options) or _default_file(options)
    if file is not None:
        return Source(file, lambda: _read_file(file, options))
    if not _has_route_settings(options):
        raise ConfigProblems([*_unknown_variables(), _no_configuration(options)])
    return Source("one route without a file", _one_route(options))


def credential_name(options: argparse.Namespace, config: "Config") -> str:
    """Return the credential NAME, by default the only one. Raise ConfigProblems if it does not exist."""
    names = sorted(config.credentials)
    if options.name is None and len(names) == 1:
        return names[0]
    if options.name in config.credentials:
        return str(options.name)
    problem = "the name of a credential is missing"
    if options.name is not None:
        problem = f"there is no credential {options.name}{did_you_mean(options.name, names)}"
        if options.file is None and os.path.exists(options.name):  # noqa: PTH110 - `probe` imports no pathlib
            problem += f"; write the file after the name: `oic-gateway {options.command} NAME {options.name}`"
    raise ConfigProblems([LocatedIssue("", 0, "", problem, f"the credentials are {', '.join(names)}")])


def admin_address(options: argparse.Namespace) -> str:
    """Return the address of a running gateway's admin port: from the option, the variable or the file."""
    if address := options.admin or os.environ.get(_ADMIN):
        return str(address)
    config = load_if_found(options)
    return DEFAULT_ADMIN if config is None else config.admin


def load_if_found(options: argparse.Namespace) -> "Config | None":
    """Return the configuration if there is a file. Its secrets are not read: the user may have no access to them."""
    file = _named_file(options) or _default_file(options)
    if file is not None:
        return _read_file(file, options, check_secrets=False).config
    if unknown := _unknown_variables():
        raise ConfigProblems(unknown)
    return None


def name_file(text: str, options: argparse.Namespace) -> str:
    """Add `-c FILE` to each command that a message shows, if the user named the file on the command line."""
    file = getattr(options, "config", None) or getattr(options, "file", None)
    if not file or options.command == "init":
        return text
    return _SHOWN_COMMAND.sub(
        lambda match: match[0] if " -c " in match[1] else f"`{match[1]} -c {shlex.quote(file)}`", text
    )


def with_file(finding: "Finding", options: argparse.Namespace) -> "Finding":
    """Return the finding with `-c FILE` in the commands that its texts show."""
    from msgspec.structs import replace  # `probe`, which runs every few seconds, does not need it

    return replace(finding, means=name_file(finding.means, options), remedy=name_file(finding.remedy, options))


def print_finding(finding: "Finding", options: argparse.Namespace) -> int:
    """Print a finding, on standard error if it is a failure. Return the exit status."""
    print(with_file(finding, options).text(), file=None if finding.ok else sys.stderr)
    return 0 if finding.ok else _UNAVAILABLE


def exit_config_error(message: str) -> NoReturn:
    """Exit with status 78."""
    sys.stderr.write(f"{message}\n")
    raise SystemExit(_BAD_CONFIG)


def run_coroutine(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop if it is installed."""
    import asyncio

    from gateway.network.event_loop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


def _named_file(options: argparse.Namespace) -> str | None:
    """Return the file that the command line or the variable names."""
    if options.file and options.config and options.file != options.config:
        sys.stderr.write(
            f"oic-gateway {options.command}: two configuration files: {options.file} and {options.config}\n"
        )
        raise SystemExit(_USAGE)
    return options.file or options.config or os.environ.get(_CONFIG) or None


def _default_file(options: argparse.Namespace) -> str | None:
    return DEFAULT_FILE if not _has_route_settings(options) and os.path.exists(DEFAULT_FILE) else None  # noqa: PTH110 - as above


def _has_route_settings(options: argparse.Namespace) -> bool:
    """Return whether an option or a variable describes one route. The admin address alone does not: `probe` reads it,
    too.
    """
    return any(setting != "admin" for setting in _given_settings(options).values())


def _given_settings(options: argparse.Namespace) -> dict[str, str]:
    """Return the settings of one route that are given: the name of each, by its flag or variable."""
    found = {}
    for setting in (*_SETTINGS, "allow"):
        if getattr(options, setting, None):
            found[_flag(setting)] = setting
        elif os.environ.get(_variable(setting)):
            found[_variable(setting)] = setting
    if os.environ.get(_SECRET):
        found[_SECRET] = "client_secret"
    return found


def _read_file(file: str, options: argparse.Namespace, *, check_secrets: bool = True) -> "Loaded":
    """Read the configuration file. Settings of one route beside it are errors, since they would have no effect."""
    from gateway.config.load import load

    unused = [
        LocatedIssue("", 0, name, f"has no effect beside {file}", f"remove it, or set `{setting}` in the file")
        for name, setting in _given_settings(options).items()
        if name != _ADMIN and hasattr(options, "upstream")  # other commands read no such settings
    ]
    return load(file, environ=os.environ, check_secrets=check_secrets, unused=[*unused, *_unknown_variables()])


def _one_route(options: argparse.Namespace) -> "Callable[[], Loaded]":
    from gateway.config.load import Loaded, one_route

    values = {setting: getattr(options, setting) or os.environ.get(_variable(setting)) for setting in _SETTINGS}
    allow = options.allow or _split_list(os.environ.get(_ALLOW, ""))
    listen = _split_list(values["listen"] or "")
    missing = [(_flag(setting), _variable(setting)) for setting in _REQUIRED if not values[setting]]
    if not values["client_secret_file"] and _SECRET not in os.environ:
        missing.append(("--client-secret-file", f"{_SECRET} to the secret itself"))
    problems = [LocatedIssue("", 0, flag, "is missing", f"set it, or the variable {name}") for flag, name in missing]
    problems += _unknown_variables()
    if problems:
        raise ConfigProblems(problems)
    names = {setting: name for name, setting in _given_settings(options).items()} | {"client_secret_env": _SECRET}
    secret_env = None if values["client_secret_file"] else _SECRET
    return lambda: Loaded(
        one_route(
            upstream=values["upstream"] or "",
            token_url=values["token_url"] or "",
            client_id=values["client_id"] or "",
            client_secret_file=values["client_secret_file"],
            client_secret_env=secret_env,
            scope=values["scope"],
            listen=listen[0] if len(listen) == 1 else listen or None,
            admin=values["admin"],
            allow=allow,
            environ=os.environ,
            names=names,
        )
    )


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _unknown_variables() -> list[LocatedIssue]:
    """Return an error for each variable with the gateway's prefix that no command reads."""
    known = {_CONFIG, _ALLOW, _SECRET, *map(_variable, _SETTINGS)}
    return [
        LocatedIssue("", 0, name, "is not a variable of the gateway", _nearest_variable(name, known))
        for name, value in sorted(os.environ.items())
        if name.startswith(_PREFIX) and name not in known and not _is_service_link(name, value)
    ]


def _nearest_variable(name: str, known: set[str]) -> str:
    nearest = did_you_mean(name, sorted(known)).removeprefix("; ")
    return nearest or f"remove it; the variables are {', '.join(sorted(known))}"


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.search(name) or (name.endswith("_PORT") and _SERVICE_URL.match(value)))


def _no_configuration(options: argparse.Namespace) -> LocatedIssue:
    required = ", ".join(map(_flag, (*_REQUIRED, "client_secret_file")))
    remedy = (
        f"name a file, `oic-gateway {options.command} -c FILE`, or set {_CONFIG}, or set {required} for one route; "
        "`oic-gateway init` writes a first file"
    )
    return LocatedIssue("", 0, "", f"no configuration is given, and there is no ./{DEFAULT_FILE}", remedy)


def _flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _variable(setting: str) -> str:
    return f"{_PREFIX}{setting.upper()}"
