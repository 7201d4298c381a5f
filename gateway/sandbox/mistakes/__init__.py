"""Set-up mistakes that the sandbox plays whole: its switches, and the configuration that it prints for a gateway.

The key is the code that `oic-gateway check --live` finds in that configuration; behind a slash stands which of several
mistakes with that code it is, as in `invalid_client/inactive`. Pure.
"""

from gateway.sandbox.mistakes.credential_scenarios import CREDENTIALS
from gateway.sandbox.mistakes.network_scenarios import NETWORK_MISTAKES
from gateway.sandbox.mistakes.route_scenarios import ROUTES
from gateway.sandbox.mistakes.scenario_row import PlayableMistake
from gateway.sandbox.mistakes.scope_scenarios import SCOPES

__all__ = ["MISTAKES", "PlayableMistake", "code_of", "listed"]

MISTAKES: dict[str, PlayableMistake] = {**CREDENTIALS, **SCOPES, **ROUTES, **NETWORK_MISTAKES}


def code_of(name: str) -> str:
    """The code of a mistake, by its key."""
    return name.partition("/")[0]


def listed() -> str:
    """All mistakes with a line each, for people."""
    width = max(map(len, MISTAKES))
    return "".join(f"{name:<{width}}  {row.plays}\n" for name, row in MISTAKES.items())
