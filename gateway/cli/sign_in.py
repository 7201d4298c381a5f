"""The command `login`: sign a person in for a credential."""

import argparse
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
EXIT_STATUS = {0: "signed in", 69: "not signed in; standard error contains the cause", 78: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_credential_argument(parser)
    add_config_arguments(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--paste", action="store_true", help="start no local listener; paste the final browser URL")
    mode.add_argument(
        "--browser", action="store_true", help="open the URL in a browser; the process list shows it for a moment"
    )


def run(options: argparse.Namespace) -> int:
    """Sign a person in. Return 0, or 69 if it fails. Raise ConfigProblems."""
    from gateway.signin.login import login  # noqa: PLC0415 - brings aiohttp

    config, name = read_sign_in_credential(options)
    show_line = partial(print, flush=True)
    return print_finding(
        run_coroutine(login(config, name, show_line=show_line, paste=options.paste, browser=options.browser)), options
    )


def read_sign_in_credential(options: argparse.Namespace) -> "tuple[Config, str]":
    """Return the configuration and the name of the credential. Raise ConfigProblems, and SystemExit if no person can
    sign in for the credential.
    """
    from gateway.signin.login import sign_in_problem  # noqa: PLC0415 - brings aiohttp

    config = read_configuration(options).read().config
    name = credential_name(options, config)
    if problem := sign_in_problem(config, name):
        exit_config_error(problem)
    return config, name
