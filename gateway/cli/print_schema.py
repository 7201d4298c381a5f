"""The command `schema`: print the JSON Schema of the configuration."""

import argparse
import sys

EXAMPLE = "oic-gateway schema > schema.json"
EXIT_STATUS: dict[int, str] = {}


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Declare the arguments: none."""


def run(_: argparse.Namespace) -> int:
    """Print the schema. Return 0."""
    from gateway.config.schema import schema_text  # noqa: PLC0415 - brings pydantic

    sys.stdout.write(schema_text())
    return 0
