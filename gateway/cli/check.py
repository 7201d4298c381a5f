"""The command `check`: report every error of the configuration; with --live, try it with real requests."""

import argparse
import json
import sys
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING

from gateway.cli.options import add_config_arguments, name_file, read_configuration, run_coroutine, with_file
from gateway.config.issue import ConfigProblems, SecretProblem

if TYPE_CHECKING:
    from gateway.config.model import Config
    from gateway.diagnosis import Finding

EXAMPLE = "oic-gateway check --live gateway.yaml"
EXIT_STATUS = {0: "no error", 69: "a live check failed", 78: ""}
_OK, _UNAVAILABLE = 0, 69


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_config_arguments(parser)
    parser.add_argument("--live", action="store_true", help="also get a token for each credential and try each route")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Print every finding. Return 0, or 69 if a live check failed. Raise ConfigProblems."""
    source = read_configuration(options)
    try:
        loaded = source.read()
    except ConfigProblems as problems:
        if options.json:
            _print_json(_config_findings(problems), options)
        raise
    for warning in loaded.warnings:
        sys.stderr.write(f"{name_file(str(warning), options)}\n")
    findings = _check_live(loaded.config, options) if options.live else []
    status = _OK if all(finding.ok for finding in findings) else _UNAVAILABLE
    if options.json:
        _print_json(findings, options)
        return status
    for finding in findings:
        sys.stdout.write(f"{with_file(finding, options).text()}\n")
    if status == _OK:
        counts = [_count(loaded.config.routes, "route"), _count(loaded.config.credentials, "credential")]
        if loaded.files[1:]:
            counts.append(_count(loaded.files[1:], "included file"))
        result = "OK, with warnings" if any(finding.is_warning for finding in findings) else "OK"
        sys.stdout.write(f"{source.name}: {result}: {', '.join(counts)}\n")
    return status


def _check_live(config: "Config", options: argparse.Namespace) -> "list[Finding]":
    from gateway.checks.run import run_checks  # noqa: PLC0415 - brings aiohttp
    from gateway.diagnosis import failed_finding  # noqa: PLC0415

    try:
        return run_coroutine(run_checks(config))
    except SecretProblem as problem:
        if not options.json:
            raise
        return [failed_finding("secret", "configuration", problem.what, remedy=problem.remedy, step="configuration")]


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


def _print_json(findings: "Iterable[Finding]", options: argparse.Namespace) -> None:
    from gateway.diagnosis import findings_document  # noqa: PLC0415

    shown = findings_document(with_file(finding, options) for finding in findings)
    sys.stdout.write(f"{json.dumps(shown, indent=2, ensure_ascii=False)}\n")


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
