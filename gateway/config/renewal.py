"""The shape of `renew:` and `budget:`, when and how often a token endpoint is asked. Imported by the model alone."""

from typing import Annotated

from pydantic import Field

from gateway.config.strict_model import StrictModel
from gateway.config.values import Duration


class Renew(StrictModel):
    """When a token is renewed; each is jittered by up to half as long again, and never more than half of a life."""

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    """Renewed while this share of its life is left."""
    at_least: Duration = 60.0
    """Renewed at least so long before its end."""
    refused_every: Duration = 30.0
    """Shortest time between two renewals that are forced because the upstream refuses the token, unless it accepted the
    token of the first one."""


class BudgetSettings(StrictModel):
    """How often the token endpoint may be asked, by each process."""

    per_second: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Most token requests in a second. A Free identity domain takes 10."""
    per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    """Most token requests in a minute. A Free identity domain takes 150."""
