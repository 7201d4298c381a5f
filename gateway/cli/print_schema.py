"""The command `schema`: print the JSON Schema of the configuration."""

import argparse
import sys

EXAMPLE = "oic-gateway schema > schema.json"
EXIT_STATUS: dict[int, str] = {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the argument."""
    parser.add_argument("--included", action="store_true", help="print the schema of a file that `include` names")


def run(options: argparse.Namespace) -> int:
    """Print the schema. Return 0."""
    from gateway.config.schema import schema_text  # noqa: PLC0415 - brings pydantic

    sys.stdout.write(schema_text(included=options.included))
    return 0
