"""The shape of `history:`, how many of the last calls can be searched. Imported by the model alone."""

from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.config.strict_model import StrictModel
from gateway.config.values import Duration, Size


def _room(value: int) -> int:
    if value < 1024**2:
        raise ValueError("must be 1MiB or more; write it like 256MiB")
    return value


class HistorySettings(StrictModel):
    """The last calls, which `oic-gateway instances` searches: kept in memory, by each worker for itself, or with
    `state.path` in a file beside it, `PATH.history`. The oldest go first.
    """

    calls: Annotated[int, Field(ge=0)] | None = None
    """Most calls that are kept; 0: none. Omitted: 10000 in memory, in a file as many as `size` takes."""
    keep: Duration = 7 * 86400.0
    """Longest time that a call is kept."""
    size: Annotated[Size, AfterValidator(_room)] = 256 * 1024**2
    """Most room that calls take, in memory or in the file; at least 1MiB."""
