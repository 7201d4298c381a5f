"""The command `caller`: make an API key for a caller."""

import argparse
import re
import secrets
import sys

EXAMPLE = "oic-gateway caller key scanner > /run/secrets/scanner"
EXIT_STATUS: dict[int, str] = {}

KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SNIPPET = """\
# The key is on standard output. Store it in a file that only the gateway can read, and give it to the caller,
# which sends it as X-Api-Key, or as Authorization: Bearer.
callers:
  {name}: {{api_key: {{file: /run/secrets/{name}}}}}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", metavar="ACTION", choices=["key"], help="`key`: make a random key of 256 bits")
    parser.add_argument("name", metavar="NAME", type=_name, help="name of the caller in the configuration")


def run(options: argparse.Namespace) -> int:
    """Print a new key on standard output, and lines for the configuration on standard error. Return 0."""
    sys.stderr.write(_SNIPPET.format(name=options.name))
    sys.stdout.write(f"{secrets.token_urlsafe(KEY_BYTES)}\n")
    return 0


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError("not a name: use up to 63 letters, digits, `.`, `_`, `-`")
    return text
