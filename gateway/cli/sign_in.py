"""The command `login`: sign a person in for a credential."""

import argparse
import getpass
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from gateway.cli.options import (
    add_config_arguments,
    add_credential_argument,
    credential_name,
    exit_config_error,
    print_finding,
    read_configuration,
    run_coroutine,
)

if TYPE_CHECKING:
    from gateway.config.model import Config

EXAMPLE = "oic-gateway login orders-app gateway.yaml"
EXIT_STATUS = {0: "signed in, or invited", 69: "neither; standard error contains the cause", 78: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_credential_argument(parser)
    add_config_arguments(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--paste", action="store_true", help="start no local listener; paste the final browser URL")
    mode.add_argument(
        "--browser", action="store_true", help="open the URL in a browser; the process list shows it for a moment"
    )
    mode.add_argument(
        "--invite",
        action="store_true",
        help="print a link to the console with which another person signs in, once, within 30 minutes",
    )


def run(options: argparse.Namespace) -> int:
    """Sign a person in. Return 0, or 69 if it fails. Raise ConfigProblems."""
    from gateway.network.aiohttp_import import import_aiohttp  # noqa: PLC0415

    import_aiohttp()
    from gateway.signin.login import login  # noqa: PLC0415 - brings aiohttp

    config, name = read_sign_in_credential(options)
    if options.invite:
        return _print_invite(config, name, options)
    show_line = partial(print, flush=True)
    return print_finding(
        run_coroutine(login(config, name, show_line=show_line, paste=options.paste, browser=options.browser)), options
    )


def _print_invite(config: "Config", name: str, options: argparse.Namespace) -> int:
    from gateway.signin.invite_command import invite  # noqa: PLC0415 - brings aiohttp
    from gateway.signin.invites import invite_problem  # noqa: PLC0415 - likewise

    if problem := invite_problem(config):
        exit_config_error(problem)
    finding, url = run_coroutine(invite(config, name, invited_by=f"{_user_name()} (command line)"))
    if url:
        sys.stdout.write(f"Send this link to one person, by a channel that only this person reads:\n\n  {url}\n\n")
    return print_finding(finding, options)


def _user_name() -> str:
    """Return the name of the user of this process; its number in a container where no name belongs to it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def read_sign_in_credential(options: argparse.Namespace) -> "tuple[Config, str]":
    """Return the configuration and the name of the credential. Raise ConfigProblems, and SystemExit if no person can
    sign in for the credential.
    """
    from gateway.signin.sign_in_completion import sign_in_problem  # noqa: PLC0415 - brings aiohttp

    config = read_configuration(options).read().config
    name = credential_name(options, config)
    if problem := sign_in_problem(config, name):
        exit_config_error(problem)
    return config, name
