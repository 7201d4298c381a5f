"""The command `token`: get a token and print it."""

import argparse
import json
import sys

from gateway.cli.options import (
    add_config_arguments,
    add_credential_argument,
    credential_name,
    read_configuration,
    run_coroutine,
    with_file,
)

EXAMPLE = 'curl -H "Authorization: Bearer $(oic-gateway token orders-app gateway.yaml)" https://...'
EXIT_STATUS = {69: "there is no token; standard error contains the cause", 78: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_credential_argument(parser)
    add_config_arguments(parser)
    parser.add_argument("--claims", action="store_true", help="print the decoded claims and the lifetime")
    parser.add_argument("--force", action="store_true", help="get a new token even if a valid one is stored")


def run(options: argparse.Namespace) -> int:
    """Print the token or its claims. Return 0, or 69 if there is none. Raise ConfigProblems."""
    from gateway.network.aiohttp_import import import_aiohttp  # noqa: PLC0415

    import_aiohttp()
    from gateway.checks.token import get_token  # noqa: PLC0415 - brings aiohttp

    config = read_configuration(options).read().config
    answer = run_coroutine(get_token(config, credential_name(options, config), force=options.force))
    if not answer.ok:
        sys.stderr.write(f"{with_file(answer.finding, options).text()}\n")
        return 69
    sys.stdout.write(f"{json.dumps(answer.claims, indent=2) if options.claims else answer.token}\n")
    return 0
