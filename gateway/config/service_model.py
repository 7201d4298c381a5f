"""The shape of `services:`, one entry for each OIC service instance."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.strict_model import StrictModel
from gateway.config.values import Duration, SiteUrl
from gateway.oic.message_packs import default_call_limit

WAIT = 20.0


class ServiceEntry(StrictModel):
    """An OIC service instance. Each route whose `upstream` has the origin of its `url` belongs to it."""

    url: SiteUrl
    """Scheme and host of the service, like https://acme.integration.us-phoenix-1.ocp.oraclecloud.com."""
    packs: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Number of its message packs."""
    licence: Literal["included", "byol"] = "included"
    """Licence of the packs: `included`, 100 synchronous runs at once for each pack, or `byol` (bring your own licence),
    400."""
    calls: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Largest number of calls at once, of all workers together, and with `state.redis` of all replicas. Omitted: 90 %
    of what `packs` allow; without `packs`: no limit."""
    wait: Duration = WAIT
    """Longest time that a call waits while all places are taken; then it gets 503 `overloaded`. Default 20s."""

    @model_validator(mode="after")
    def _has_packs(self) -> Self:
        if self.licence == "byol" and self.packs is None:
            raise ValueError("has `licence` but no `packs`; add `packs`, or remove `licence`")
        return self

    @property
    def limit(self) -> int | None:
        """The largest number of calls at once; None without a limit."""
        if self.calls is not None or self.packs is None:
            return self.calls
        return default_call_limit(self.packs, self.licence)
