"""The verbs: `oic-gateway serve | check | token | login | logout | sandbox | probe | schema`.

Exit status follows sysexits: 0 done, 69 something outside does not answer as it should, 78 the configuration is wrong.
Each verb imports what it needs when it runs, and none waits for another's modules: `probe` runs every few seconds.
"""
# ruff: noqa: PLC0415 - see above

import argparse
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sized
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from gateway import __version__
from gateway.config.problem import ConfigProblems, SecretProblem

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.oic.diagnosis import Finding

OK, UNAVAILABLE, BAD_CONFIG = 0, 69, 78
PREFIX = "OIC_GATEWAY_"
T = TypeVar("T")

ONE_ROUTE_FLAGS = {
    "upstream": ("--upstream", "URL", "where the one route leads"),
    "token_url": ("--token-url", "URL", "token endpoint of the identity domain"),
    "client_id": ("--client-id", "ID", "client id of the confidential application"),
    "client_secret_file": ("--client-secret-file", "FILE", "file that holds the client secret"),
    "scope": ("--scope", "SCOPE", "scope of the token"),
    "listen": ("--listen", "HOST:PORT", "where callers connect"),
    "admin": ("--admin", "HOST:PORT", "where health, metrics and status are served"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; gives the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser(words).parse_args(words)
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # events are `serve`'s; other verbs tell in words
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ConfigProblems as problems:
        print(problems, file=sys.stderr)  # noqa: T201 - a verb speaks to the terminal
        return BAD_CONFIG
    except SecretProblem as problem:
        print(problem, file=sys.stderr)  # noqa: T201
        return UNAVAILABLE
    except KeyboardInterrupt:
        return 130


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oic-gateway", description="Plain HTTP in, OAuth 2.0 out: the way to Oracle Integration Cloud."
    )
    parser.add_argument("--version", action="version", version=f"oic-gateway {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    file = argparse.ArgumentParser(add_help=False)
    file.add_argument("-c", "--config", metavar="FILE", help=f"configuration file (or {PREFIX}CONFIG)")

    serve = verbs.add_parser("serve", parents=[file], help="run the gateway", description=_serve.__doc__)
    for flag, shape, meaning in ONE_ROUTE_FLAGS.values():
        serve.add_argument(flag, metavar=shape, help=f"{meaning} (or {_variable(flag)})")
    serve.add_argument("--client-secret", action=_NoSecret, help=argparse.SUPPRESS)
    serve.add_argument(
        "--allow", metavar="CIDR", action="append", default=[], help=f"who may call (or {PREFIX}ALLOW, comma-separated)"
    )
    serve.set_defaults(run=_serve)

    check = verbs.add_parser("check", parents=[file], help="say everything that is wrong with the configuration")
    check.add_argument("--live", action="store_true", help="also get a token per credential and reach each upstream")
    check.set_defaults(run=_check)

    token = verbs.add_parser("token", parents=[file], help="get a token and print it")
    token.add_argument("--claims", action="store_true", help="print the decoded claims and the lifetime instead")
    token.add_argument("--force", action="store_true", help="get another one, even where a good one is kept")
    token.add_argument("name", metavar="NAME", help="a credential of the configuration")
    token.set_defaults(run=_token)

    login = verbs.add_parser("login", parents=[file], help="have a person sign in for a credential")
    how = login.add_mutually_exclusive_group()
    how.add_argument("--paste", action="store_true", help="listen nowhere: paste the address that the browser ends at")
    how.add_argument("--browser", action="store_true", help="open the address; the process list shows it for a moment")
    login.add_argument("name", metavar="NAME", help="a credential with `grant: authorization_code`")
    login.set_defaults(run=_login)

    logout = verbs.add_parser("logout", parents=[file], help="revoke and forget what a person has signed in for")
    logout.add_argument("name", metavar="NAME", help="a credential with `grant: authorization_code`")
    logout.set_defaults(run=_logout)

    box = verbs.add_parser("sandbox", help="serve an imitation identity domain and OIC instance")
    if "sandbox" in words:
        from gateway.sandbox import command

        command.add_arguments(box)
        box.set_defaults(run=command.run)

    health = verbs.add_parser("probe", parents=[file], help="ask the admin port for readiness")
    health.add_argument("--admin", metavar="HOST:PORT", help="the admin address, instead of the configuration's")
    health.add_argument("--timeout", metavar="SECONDS", type=float, default=5.0, help="longest wait, default 5")
    health.set_defaults(run=_probe)

    schema = verbs.add_parser("schema", help="print the JSON Schema of the configuration file")
    schema.set_defaults(run=_schema)
    return parser


class _NoSecret(argparse.Action):
    """Refuses a secret as a flag's value, where every process of the machine could read it; never shows it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(f"a command line is no place for a secret; use --client-secret-file or {PREFIX}CLIENT_SECRET")


def _serve(options: argparse.Namespace) -> int:
    """Runs the gateway with -c FILE, or without a file for one route from the flags."""
    from gateway import app
    from gateway.observe.log import setup
    from gateway.workers.cpus import head_count

    read = _reader(options)
    loaded = read()
    if (count := head_count(loaded.config.workers)) > 1:
        from gateway.workers import crew

        return crew.serve(loaded, read, count=count, run=_run)
    records = setup(loaded.config.log.level, loaded.config.log.format)
    try:
        return _run(app.serve(loaded, read, records))
    finally:
        records.close()


def _check(options: argparse.Namespace) -> int:
    loaded = _loaded(_file(options))
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)  # noqa: T201
    if options.live:
        from gateway import live

        findings = _run(live.check(loaded.config))
        for finding in findings:
            print(finding.text())  # noqa: T201
        if not all(finding.ok for finding in findings):
            return UNAVAILABLE
    config = loaded.config
    print(f"{_file(options)}: good: {_count(config.routes, 'route')}, {_count(config.credentials, 'credential')}")  # noqa: T201
    return OK


def _token(options: argparse.Namespace) -> int:
    import json

    from gateway import live

    config = _loaded(_file(options)).config
    if options.name not in config.credentials:
        known = ", ".join(sorted(config.credentials))
        print(f"no credential is called {options.name}; there are: {known}", file=sys.stderr)  # noqa: T201
        return BAD_CONFIG
    answer = _run(live.token(config, options.name, force=options.force))
    if not answer.ok:
        print(answer.finding.text(), file=sys.stderr)  # noqa: T201
        return UNAVAILABLE
    print(json.dumps(answer.claims, indent=2) if options.claims else answer.token)  # noqa: T201
    return OK


def _login(options: argparse.Namespace) -> int:
    from gateway.signin.login import login, why_not

    config = _loaded(_file(options)).config
    if refusal := why_not(config, options.name):
        _refuse(refusal)
    say = partial(print, flush=True)
    return _found(_run(login(config, options.name, say=say, paste=options.paste, browser=options.browser)))


def _logout(options: argparse.Namespace) -> int:
    from gateway.signin.login import why_not
    from gateway.signin.logout import logout

    config = _loaded(_file(options)).config
    if refusal := why_not(config, options.name):
        _refuse(refusal)
    return _found(_run(logout(config, options.name)))


def _found(finding: "Finding") -> int:
    print(finding.text(), file=None if finding.ok else sys.stderr)
    return OK if finding.ok else UNAVAILABLE


def _probe(options: argparse.Namespace) -> int:
    from gateway.admin.probe import probe

    address = options.admin or os.environ.get(f"{PREFIX}ADMIN")
    if not address:
        file = options.config or os.environ.get(f"{PREFIX}CONFIG")
        address = _loaded(file, check_secrets=False).config.admin if file else "127.0.0.1:9090"
    ready, answer = probe(address, options.timeout)
    print(answer)  # noqa: T201
    return OK if ready else 1


def _schema(_: argparse.Namespace) -> int:
    from gateway.config.schema import schema_text

    print(schema_text(), end="")  # noqa: T201
    return OK


def _reader(options: argparse.Namespace) -> "Callable[[], Loaded]":
    """How the configuration is read, now and at each SIGHUP: from the file, or from flags and variables."""
    file = options.config or os.environ.get(f"{PREFIX}CONFIG")
    if not file:
        return _from_flags(options)
    flags = [flag for name, (flag, _, _) in ONE_ROUTE_FLAGS.items() if getattr(options, name)]
    flags += ["--allow"] if options.allow else []
    names = [_variable(flag) for flag, _, _ in ONE_ROUTE_FLAGS.values() if flag != "--admin"]  # that one is `probe`'s
    flags += [name for name in (*names, f"{PREFIX}ALLOW", f"{PREFIX}CLIENT_SECRET") if os.environ.get(name)]
    if flags:
        _refuse(f"oic-gateway serve: {', '.join(flags)} would not count beside {file}; write it there")
    return lambda: _loaded(file)


def _from_flags(options: argparse.Namespace) -> "Callable[[], Loaded]":
    from gateway.config.load import Loaded, one_route

    given = {
        name: getattr(options, name) or os.environ.get(_variable(flag))
        for name, (flag, _, _) in ONE_ROUTE_FLAGS.items()
    }
    allow = options.allow or [part.strip() for part in os.environ.get(f"{PREFIX}ALLOW", "").split(",") if part.strip()]
    missing = [ONE_ROUTE_FLAGS[name][0] for name in ("upstream", "token_url", "client_id") if not given[name]]
    secret_env = None if given["client_secret_file"] else f"{PREFIX}CLIENT_SECRET"
    if secret_env and secret_env not in os.environ:
        missing.append("--client-secret-file")
    if missing:
        _refuse(
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


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _variable(flag: str) -> str:
    return PREFIX + flag.removeprefix("--").replace("-", "_").upper()


def _file(options: argparse.Namespace) -> str:
    file = options.config or os.environ.get(f"{PREFIX}CONFIG")
    if not file:
        _refuse(f"say which file: --config FILE, or {PREFIX}CONFIG")
    return str(file)


def _refuse(told: str) -> NoReturn:
    print(told, file=sys.stderr)  # noqa: T201
    raise SystemExit(BAD_CONFIG)


def _loaded(file: str, *, check_secrets: bool = True) -> "Loaded":
    from gateway.config.load import load

    return load(file, environ=os.environ, check_secrets=check_secrets)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs on uvloop where it exists."""
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
