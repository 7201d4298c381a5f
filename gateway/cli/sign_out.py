"""The command `logout`: revoke and delete the sign-in of a credential."""

import argparse

from gateway.cli.options import (
    add_config_arguments,
    add_credential_argument,
    credential_name,
    exit_config_error,
    print_finding,
    read_configuration,
    run_coroutine,
)

EXAMPLE = "oic-gateway logout orders-app gateway.yaml"
EXIT_STATUS = {0: "signed out", 69: "not signed out; standard error contains the cause", 78: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_credential_argument(parser)
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Revoke and delete the sign-in. Return 0, or 69 if it fails. Raise ConfigProblems."""
    from gateway.signin.login import why_not  # noqa: PLC0415 - brings aiohttp
    from gateway.signin.logout import logout  # noqa: PLC0415

    config = read_configuration(options).read().config
    name = credential_name(options, config)
    if problem := why_not(config, name):
        exit_config_error(problem)
    return print_finding(run_coroutine(logout(config, name)), options)
