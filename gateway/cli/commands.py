"""The commands: name, module and summary of each, and a parser of its arguments.

The module of a command has `EXAMPLE` (a command line), `EXIT_STATUS` (the meanings in which it differs),
`add_arguments` and `run`. It is imported only when its command is parsed.
"""

import argparse
import difflib
import importlib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

PROGRAM = "oic-gateway"


class Command(NamedTuple):
    """A command: its module in this package and one line for the overview."""

    module: str
    summary: str


COMMANDS = {
    "serve": Command("serve", "run the gateway"),
    "check": Command("check", "report every error of the configuration"),
    "token": Command("print_token", "get a token and print it"),
    "login": Command("sign_in", "sign a person in for a credential"),
    "logout": Command("sign_out", "revoke and delete a sign-in"),
    "rotate": Command("rotate", "replace a client secret by a new one of the identity domain"),
    "init": Command("init", "write a first configuration; prompt for missing values"),
    "sandbox": Command("sandbox", "imitate an identity domain and an OIC instance"),
    "probe": Command("probe", "query readiness on the admin port"),
    "instances": Command("instances", "find calls, and the OIC instances that they started"),
    "usage": Command("usage", "report calls and billed messages by caller, route, service or hour"),
    "caller": Command("make_key", "make an API key for a caller"),
    "user": Command("manage_users", "add, list and remove local users of the console"),
    "schema": Command("print_schema", "print the JSON Schema of the configuration"),
    "completion": Command("completion", "print a completion script for bash or zsh"),
}

_EXIT_STATUS = {
    0: "done",
    2: "the command line is wrong",
    69: "another system does not respond as it should",
    74: "standard output cannot be written",
    78: "the configuration is wrong",
}
_ALWAYS = (0, 2, 74)
_FILE_SUFFIXES = (".yaml", ".yml")


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors suggest the nearest option and never show a value."""

    def reject_words(self, words: list[str]) -> NoReturn:
        """Exit with a usage error for words that no argument takes.

        If there are options among them, only those are shown: the word after a misspelt option may be a secret.
        """
        known = list(itertools.chain(*(action.option_strings for action in actions_of(self))))
        options = [word.partition("=")[0] for word in words if word.startswith("-") and word != "--"]
        if options:
            self.error("; ".join(f"unknown option {option}{did_you_mean(option, known)}" for option in options))
        self.error(f"unexpected argument: {' '.join(words)}")


def load_command(name: str) -> Any:
    """Import the module of a command."""
    return importlib.import_module(f"gateway.cli.{COMMANDS[name].module}")


def make_parser(name: str) -> CommandParser:
    """Make the parser of a command; its help has an example and the exit statuses."""
    module = load_command(name)
    parser = CommandParser(
        prog=f"{PROGRAM} {name}",
        description=f"{COMMANDS[name].summary[0].upper()}{COMMANDS[name].summary[1:]}.",
        epilog=f"example:\n  {module.EXAMPLE}\n\nexit status:\n{_exit_status(module.EXIT_STATUS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def parse(name: str, words: list[str]) -> argparse.Namespace:
    """Parse the words after a command. Exit with status 2 if they are wrong, with 0 after `--help`."""
    parser = make_parser(name)
    prepare = getattr(load_command(name), "prepare_words", list)
    # Intermixed: an option may stand between two positional arguments.
    options, unknown = parser.parse_known_intermixed_args(prepare(words))
    if unknown:
        parser.reject_words(unknown)
    options.command = name
    _move_lone_file(options, [action.dest for action in actions_of(parser) if not action.option_strings])
    return options


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments that help shows. argparse has no public way to list them."""
    return [action for action in parser._actions if action.help is not argparse.SUPPRESS]  # noqa: SLF001


def overview() -> str:
    """Return the usage of the program with all commands."""
    width = max(map(len, COMMANDS)) + 2
    rows = (f"    {name.ljust(width)}{command.summary}" for name, command in COMMANDS.items())
    return "\n".join(
        (
            f"usage: {PROGRAM} COMMAND [OPTION ...]",
            "",
            "Authenticating gateway for Oracle Integration Cloud: plain HTTP in, OAuth 2.0 out.",
            "",
            "commands:",
            *rows,
            "",
            f"`{PROGRAM} help COMMAND` shows the options of a command, `{PROGRAM} version` the version.",
            "",
        )
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the nearest known word, else an empty text."""
    by_lower_case = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.partition("=")[0][:64].lower(), by_lower_case, 1)
    return f"; did you mean {by_lower_case[near[0]]}?" if near else ""


def _move_lone_file(options: argparse.Namespace, arguments: list[str]) -> None:
    """Make a lone word FILE if it names a YAML file or a path: an optional argument before FILE is omitted then."""
    if len(arguments) != 2 or arguments[1] != "file" or options.file or options.config:
        return
    word = getattr(options, arguments[0])
    if word and (word.endswith(_FILE_SUFFIXES) or "/" in word):
        options.file = word
        setattr(options, arguments[0], None)


def _exit_status(own: Mapping[int, str]) -> str:
    shown = {status: own.get(status) or _EXIT_STATUS[status] for status in sorted({*_ALWAYS, *own})}
    return "\n".join(f"  {status:<4}{meaning}" for status, meaning in shown.items())
