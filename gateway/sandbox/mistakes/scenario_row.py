"""What a row of the table says, and what several rows name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.sandbox.clients import DEFAULT_SECRET

REST = "{origin}/ic/api/integration/v1/flows/rest"
PROJECT = "{origin}/ic/api/integration/v2/flows/rest/project"
DEVELOPER = "{origin}/ic/api/integration/v1/"


@dataclass(frozen=True, slots=True)
class PlayableMistake:
    """One mistake.

    Texts within `credential`, `route`, `file` and `files` may name `{origin}` and `{design}` (of the sandbox),
    `{host}` (its name and port), `{folder}` (where files are written) and `{closed}` (an address whose port refuses).

    Attributes:
        plays: what is played, in words for a list.
        switches: those of the sandbox that differ from their defaults, by name.
        credential: keys of the printed credential; None takes one out.
        route: keys of the printed route.
        file: keys of the printed file beside both.
        secret: what the printed secret file holds; shown neither in a repr nor in the print.
        files: further files by name, with their text; an empty one gets a new private key.
        follows: codes that the check finds besides, since they follow from the mistake.
    """

    plays: str
    switches: Mapping[str, Any] = field(default_factory=dict)
    credential: Mapping[str, Any] = field(default_factory=dict)
    route: Mapping[str, Any] = field(default_factory=dict)
    file: Mapping[str, Any] = field(default_factory=dict)
    secret: str = field(default=DEFAULT_SECRET, repr=False)
    files: Mapping[str, str] = field(default_factory=dict)
    follows: tuple[str, ...] = ()
