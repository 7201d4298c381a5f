"""The command `check`: report every error of the configuration; with --live, try it with real requests."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING

from gateway.cli.admin_query import QueryFailed, print_error
from gateway.cli.options import add_config_arguments, name_file, read_configuration, run_coroutine, with_file
from gateway.config.issue import ConfigProblems, SecretProblem

if TYPE_CHECKING:
    from gateway.config.difference import ConfigDifference
    from gateway.config.load import Loaded
    from gateway.config.model import Config
    from gateway.diagnosis import Finding

EXAMPLE = "oic-gateway check --live gateway.yaml"
EXIT_STATUS = {
    0: "no error; with --against: no difference",
    1: "--against: there is a difference",
    69: "a live check failed, or the gateway of --against does not respond",
    78: "",
}
_OK, _DIFFERENT, _UNAVAILABLE = 0, 1, 69


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_config_arguments(parser)
    parser.add_argument("--live", action="store_true", help="also get a token for each credential and try each route")
    parser.add_argument(
        "--against",
        metavar="FILE|URL",
        help="also compare with another file, or with the gateway at this admin port, like http://127.0.0.1:9090",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Print every finding, and the difference to another configuration. Return the status. Raise ConfigProblems."""
    source = read_configuration(options)
    try:
        loaded = source.read()
        difference = _compare(loaded, options.against) if options.against else None
    except ConfigProblems as problems:
        if options.json:
            _print_json(_config_findings(problems), options)
        raise
    except QueryFailed as failure:
        print_error(str(failure))
        return failure.status
    for warning in loaded.warnings:
        sys.stderr.write(f"{name_file(str(warning), options)}\n")
    findings = _check_live(loaded.config, options) if options.live else []
    is_ok = all(finding.ok for finding in findings)
    if options.json:
        _print_json(findings, options, {} if difference is None else {"difference": difference.document()})
    else:
        _print_text(source.name, loaded, findings, difference, options)
    return _UNAVAILABLE if not is_ok else _DIFFERENT if difference else _OK


def _compare(loaded: "Loaded", other: str) -> "ConfigDifference":
    from gateway.cli.against import compare_with  # noqa: PLC0415 - only for a comparison

    return compare_with(loaded, other)


def _print_text(
    name: str,
    loaded: "Loaded",
    findings: "list[Finding]",
    difference: "ConfigDifference | None",
    options: argparse.Namespace,
) -> None:
    lines = [with_file(finding, options).text() for finding in findings]
    if all(finding.ok for finding in findings):
        counts = [_count(loaded.config.routes, "route"), _count(loaded.config.credentials, "credential")]
        counts += [_count(loaded.files[1:], "included file")] if loaded.files[1:] else []
        result = "OK, with warnings" if any(finding.is_warning for finding in findings) else "OK"
        lines.append(f"{name}: {result}: {', '.join(counts)}")
    if difference is not None:
        from gateway.cli.against import difference_lines  # noqa: PLC0415 - only for a comparison

        lines += [name_file(line, options) for line in difference_lines(difference)]
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _check_live(config: "Config", options: argparse.Namespace) -> "list[Finding]":
    from gateway.network.aiohttp_import import import_aiohttp  # noqa: PLC0415

    import_aiohttp()
    from gateway.checks.run import run_checks  # noqa: PLC0415 - brings aiohttp
    from gateway.diagnosis import failed_finding  # noqa: PLC0415

    try:
        return run_coroutine(run_checks(config)) + _check_console(config)
    except SecretProblem as problem:
        if not options.json:
            raise
        return [failed_finding("secret", "configuration", problem.what, remedy=problem.remedy, step="configuration")]


def _check_console(config: "Config") -> "list[Finding]":
    if config.console is None:
        return []
    from gateway.console.provider_check import check_provider  # noqa: PLC0415 - few files have a console

    return run_coroutine(check_provider(config, environ=os.environ))


def _config_findings(problems: ConfigProblems) -> "list[Finding]":
    from gateway.diagnosis import failed_finding  # noqa: PLC0415

    return [
        failed_finding(
            "configuration",
            problem.location,
            problem.what,
            remedy=problem.remedy + (f" (owner: {problem.owner})" if problem.owner else ""),
            step="configuration",
        )
        for problem in problems.problems
        if problem.severity == "error"
    ]


def _print_json(
    findings: "Iterable[Finding]", options: argparse.Namespace, more: dict[str, object] | None = None
) -> None:
    from gateway.diagnosis import findings_document  # noqa: PLC0415

    shown = findings_document(with_file(finding, options) for finding in findings) | (more or {})
    sys.stdout.write(f"{json.dumps(shown, indent=2, ensure_ascii=False)}\n")


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
