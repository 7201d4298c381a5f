"""Dispatch: find the command, parse its arguments, run it, turn its errors into an exit status.

Exit status follows sysexits: 0 done, 69 another system does not respond as it should, 74 standard output cannot be
written, 78 the configuration is wrong. Only the module of the command that runs is imported: `probe` runs every few
seconds.
"""

import sys

# Before all other imports: some fail on Windows with an ImportError that explains nothing.
if sys.platform == "win32":
    sys.exit("oic-gateway does not run on Windows. Run it in WSL 2, or as a container in Docker or Podman.")

import argparse
import logging
from functools import partial

from gateway import __version__
from gateway.cli.commands import COMMANDS, PROGRAM, did_you_mean, load_command, make_parser, overview, parse
from gateway.cli.output import run_with_output
from gateway.config.issue import ConfigProblems, SecretProblem

_OK, _USAGE, _UNAVAILABLE, _BAD_CONFIG, _INTERRUPTED = 0, 2, 69, 78, 130
_HELP = ("help", "-h", "--help")
_VERSION = ("version", "-V", "--version")
_UNHARDENED = "probe"  # it holds no secret and runs often


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    return run_with_output(partial(_run_command, words))


def _run_command(words: list[str]) -> int:
    name, *rest = words or [""]
    if name in _HELP:
        return _unexpected_argument(rest[1]) if rest[1:] else _help(rest)
    if name in _VERSION:
        return _unexpected_argument(rest[0]) if rest else _version()
    if name not in COMMANDS:
        return _unknown_command(name)
    return _run_parsed(name, parse(name, rest))


def _run_parsed(name: str, options: argparse.Namespace) -> int:
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # only `serve` logs events; other commands print
    if name != _UNHARDENED:
        from gateway.system.hardening import forbid_dumps  # noqa: PLC0415 - `probe` runs every few seconds

        forbid_dumps()
    try:
        status: int = load_command(name).run(options)
    except ConfigProblems as problems:
        return _failed(str(problems), options, _BAD_CONFIG)
    except SecretProblem as problem:
        return _failed(str(problem), options, _UNAVAILABLE)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _failed(message: str, options: argparse.Namespace, status: int) -> int:
    from gateway.cli.options import name_file  # noqa: PLC0415 - `--version` has no use for it

    sys.stderr.write(f"{name_file(message, options)}\n")
    return status


def _version() -> int:
    sys.stdout.write(f"{PROGRAM} {__version__}\n")
    return _OK


def _help(names: list[str]) -> int:
    if not names or names[0] in _HELP:
        sys.stdout.write(overview())
        return _OK
    if names[0] not in COMMANDS:
        return _unknown_command(names[0])
    sys.stdout.write(make_parser(names[0]).format_help())
    return _OK


def _unknown_command(name: str) -> int:
    if not name:
        sys.stderr.write(f"{overview()}\n{PROGRAM}: a command is missing\n")
        return _USAGE
    nearest = did_you_mean(name, [*COMMANDS, *_HELP, *_VERSION])
    if name.startswith("-"):
        problem = f"unknown option {name.partition('=')[0]}{nearest or '; write the command first'}"
    else:
        problem = f"unknown command {name}{nearest}"
    return _usage_error(problem)


def _unexpected_argument(word: str) -> int:
    return _usage_error(f"unexpected argument: {word}")


def _usage_error(problem: str) -> int:
    sys.stderr.write(
        f"usage: {PROGRAM} COMMAND [OPTION ...]\n{PROGRAM}: {problem}\n`{PROGRAM} help` lists the commands.\n"
    )
    return _USAGE
