"""The addresses for callers: one string, or a list of strings and mappings."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from gateway.config.strict_model import StrictModel
from gateway.config.values import Address

MOST_LISTENERS = 32


class ListenSettings(StrictModel):
    """One address for callers, in a list."""

    address: Address
    """HOST:PORT or unix:/path; an address that is not loopback requires `allow`."""


def _kind_of_entry(value: object) -> str:
    return "[keys]" if isinstance(value, dict | StrictModel) else "[one]"


def _kind(value: object) -> str:
    return "[several]" if isinstance(value, list | dict) else "[one]"  # a mapping is an entry of a list


# Discriminators keep an error in one shape from being reported for the others, too; `messages` drops the tags.
ListenEntry = Annotated[
    Annotated[Address, Tag("[one]")] | Annotated[ListenSettings, Tag("[keys]")],
    Discriminator(_kind_of_entry),
]
Listen = Annotated[
    Annotated[Address, Tag("[one]")]
    | Annotated[Annotated[list[ListenEntry], Field(min_length=1, max_length=MOST_LISTENERS)], Tag("[several]")],
    Discriminator(_kind),
]
