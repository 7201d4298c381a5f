"""The command `logout`: revoke and delete the sign-in of a credential."""

import argparse

from gateway.cli.options import add_config_arguments, add_credential_argument, print_finding, run_coroutine
from gateway.cli.sign_in import read_sign_in_credential

EXAMPLE = "oic-gateway logout orders-app gateway.yaml"
EXIT_STATUS = {0: "signed out", 69: "not signed out; standard error contains the cause", 78: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_credential_argument(parser)
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Revoke and delete the sign-in. Return 0, or 69 if it fails. Raise ConfigProblems."""
    from gateway.network.aiohttp_import import import_aiohttp  # noqa: PLC0415

    import_aiohttp()
    from gateway.signin.logout import logout  # noqa: PLC0415 - brings aiohttp

    config, name = read_sign_in_credential(options)
    return print_finding(run_coroutine(logout(config, name)), options)
