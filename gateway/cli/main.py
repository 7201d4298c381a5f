"""The verbs: `oic-gateway serve | check | token | login | logout | init | sandbox | probe | instances | schema`.

Exit status follows sysexits: 0 done, 69 something outside does not answer as it should, 74 standard output cannot be
written, 78 the configuration is wrong.
Each verb imports what it needs when it runs, and none waits for another's modules: `probe` runs every few seconds.
"""
# ruff: noqa: PLC0415 - see above

import argparse
import logging
import sys
from collections.abc import Callable, Coroutine, Sized
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gateway import __version__
from gateway.cli.options import (
    BAD_CONFIG,
    ONE_ROUTE_FLAGS,
    PREFIX,
    NoSecret,
    admin_address,
    env_name,
    exit_config_error,
    file_of,
    load_if_named,
    read_file,
    reader,
)
from gateway.cli.output import run_with_output
from gateway.config.issue import ConfigProblems, SecretProblem

if TYPE_CHECKING:
    from gateway.config.model import Config
    from gateway.diagnosis import Finding

OK, UNAVAILABLE = 0, 69
T = TypeVar("T")


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb; gives the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_with_output(partial(_run_verb, words))


def _run_verb(words: list[str]) -> int:
    options = _parser(words).parse_args(_plain(words))
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # events are `serve`'s; other verbs tell in words
    run: Callable[[argparse.Namespace], int] = options.run
    if run is not _probe:  # it holds no secret, and is called often
        from gateway.system.hardening import forbid_dumps

        forbid_dumps()
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
        serve.add_argument(flag, metavar=shape, help=f"{meaning} (or {env_name(flag)})")
    serve.add_argument("--client-secret", action=NoSecret, help=argparse.SUPPRESS)
    serve.add_argument(
        "--allow", metavar="CIDR", action="append", default=[], help=f"who may call (or {PREFIX}ALLOW, comma-separated)"
    )
    serve.set_defaults(run=_serve)

    check = verbs.add_parser("check", parents=[file], help="say everything that is wrong with the configuration")
    check.add_argument("--live", action="store_true", help="also get a token per credential and try each route with it")
    check.add_argument("--json", action="store_true", help="print one JSON document instead")
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

    first = verbs.add_parser("init", help="write a first configuration, asking for what no flag says")
    if "init" in words:
        from gateway.cli import init

        init.add_arguments(first)
        first.set_defaults(run=partial(init.run, work=_run))

    box = verbs.add_parser("sandbox", help="serve an imitation identity domain and OIC instance")
    if "sandbox" in words:
        from gateway.cli import sandbox

        sandbox.add_arguments(box)
        box.set_defaults(run=sandbox.run)

    health = verbs.add_parser("probe", parents=[file], help="ask the admin port for readiness")
    health.add_argument("--admin", metavar="HOST:PORT", help="the admin address, instead of the configuration's")
    health.add_argument("--timeout", metavar="SECONDS", type=float, default=5.0, help="longest wait, default 5")
    health.set_defaults(run=_probe)

    runs = verbs.add_parser("instances", parents=[file], help="find calls, and the runs of OIC that they started")
    runs.add_argument("--admin", metavar="HOST:PORT", help="the admin address, instead of the configuration's")
    if "instances" in words:
        from gateway.cli import instances

        instances.add_arguments(runs)
        runs.set_defaults(run=_instances)

    schema = verbs.add_parser("schema", help="print the JSON Schema of the configuration file")
    schema.set_defaults(run=_schema)
    return parser


def _plain(words: list[str]) -> list[str]:
    """The words as argparse reads them: an instance id may begin with a dash, and is no flag for that."""
    if words[:1] != ["instances"]:
        return words
    from gateway.cli.instances import id_last

    return id_last(words)


def _serve(options: argparse.Namespace) -> int:
    """Runs the gateway with -c FILE, or without a file for one route from the flags."""
    from gateway.observe.log import setup
    from gateway.server import gateway
    from gateway.server.workers.cpus import worker_count

    read = reader(options)
    loaded = read()
    if (count := worker_count(loaded.config.workers)) > 1:
        from gateway.server.workers import supervisor

        return supervisor.serve(loaded, read, count=count, run=_run)
    records = setup(loaded.config.log.level, loaded.config.log.format)
    try:
        return _run(gateway.serve(loaded, read, records))
    finally:
        records.close()


def _check(options: argparse.Namespace) -> int:
    file = file_of(options)
    try:
        loaded = read_file(file)
    except ConfigProblems as problems:
        if options.json:
            _tell_json(_unusable(problems))
        raise
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)  # noqa: T201
    findings = _checked(loaded.config, options) if options.live else []
    status = OK if all(finding.ok for finding in findings) else UNAVAILABLE
    if options.json:
        _tell_json(findings)
        return status
    for finding in findings:
        print(finding.text())  # noqa: T201
    if status == OK:
        counts = _count(loaded.config.routes, "route"), _count(loaded.config.credentials, "credential")
        how = "good, but for the notes" if any(finding.is_note for finding in findings) else "good"
        print(f"{file}: {how}: {', '.join(counts)}")  # noqa: T201
    return status


def _checked(config: "Config", options: argparse.Namespace) -> "list[Finding]":
    from gateway.checks.run import check
    from gateway.diagnosis import failed

    try:
        return _run(check(config))
    except SecretProblem as problem:
        if not options.json:
            raise
        return [failed("secret", "configuration", problem.what, remedy=problem.remedy, step="configuration")]


def _unusable(problems: ConfigProblems) -> "list[Finding]":
    from gateway.diagnosis import failed

    return [
        failed("configuration", problem.location, problem.what, remedy=problem.remedy, step="configuration")
        for problem in problems.problems
        if problem.severity == "error"
    ]


def _tell_json(findings: "list[Finding]") -> None:
    import json

    from gateway.diagnosis import document

    print(json.dumps(document(findings), indent=2, ensure_ascii=False))  # noqa: T201


def _token(options: argparse.Namespace) -> int:
    import json

    from gateway.checks.token import token

    config = read_file(file_of(options)).config
    if options.name not in config.credentials:
        known = ", ".join(sorted(config.credentials))
        print(f"no credential is called {options.name}; there are: {known}", file=sys.stderr)  # noqa: T201
        return BAD_CONFIG
    answer = _run(token(config, options.name, force=options.force))
    if not answer.ok:
        print(answer.finding.text(), file=sys.stderr)  # noqa: T201
        return UNAVAILABLE
    print(json.dumps(answer.claims, indent=2) if options.claims else answer.token)  # noqa: T201
    return OK


def _login(options: argparse.Namespace) -> int:
    from gateway.signin.login import login, why_not

    config = read_file(file_of(options)).config
    if refusal := why_not(config, options.name):
        exit_config_error(refusal)
    say = partial(print, flush=True)
    return _found(_run(login(config, options.name, say=say, paste=options.paste, browser=options.browser)))


def _logout(options: argparse.Namespace) -> int:
    from gateway.signin.login import why_not
    from gateway.signin.logout import logout

    config = read_file(file_of(options)).config
    if refusal := why_not(config, options.name):
        exit_config_error(refusal)
    return _found(_run(logout(config, options.name)))


def _found(finding: "Finding") -> int:
    print(finding.text(), file=None if finding.ok else sys.stderr)
    return OK if finding.ok else UNAVAILABLE


def _probe(options: argparse.Namespace) -> int:
    from gateway.cli.probe import probe

    ready, answer = probe(admin_address(options), options.timeout)
    print(answer)  # noqa: T201
    return OK if ready else 1


def _instances(options: argparse.Namespace) -> int:
    from gateway.cli import instances

    def kept() -> tuple[str, float] | None:
        config = load_if_named(options)
        if config is None:
            return None
        from gateway.wiring.history import file_of

        return file_of(config)

    return instances.run(options, admin_address(options), kept)


def _schema(_: argparse.Namespace) -> int:
    from gateway.config.schema import schema_text

    print(schema_text(), end="")  # noqa: T201
    return OK


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Runs on uvloop where it exists."""
    import asyncio

    from gateway.network.event_loop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
