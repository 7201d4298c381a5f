"""Open connections to upstreams. After an error a retry is safe, because no byte of a request was sent."""

import asyncio
import errno
from collections.abc import Callable
from functools import partial

from gateway.errors import Overloaded, UpstreamUnreachable
from gateway.http.fields import FieldRules
from gateway.http.head_shapes import HeadShapes
from gateway.http.response_parser import ResponseHead
from gateway.http.upstream_connection import UpstreamConnection
from gateway.network.dial import CannotConnect, Origin, connect


async def dial(
    origin: Origin,
    on_lost: Callable[[UpstreamConnection], None],
    rules: FieldRules,
    shapes: HeadShapes[ResponseHead] | None = None,
) -> UpstreamConnection:
    """Return a connection that is ready for its first exchange. `rules`: how each response field is treated. `shapes`
    are those of earlier responses of the origin.

    Raise UpstreamUnreachable with the step that failed, Overloaded if this process has no file descriptor left.
    """
    try:
        loop = asyncio.get_running_loop()
        return await connect(origin, partial(UpstreamConnection, loop, rules=rules, shapes=shapes, on_lost=on_lost))
    except CannotConnect as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            raise Overloaded(reason=f"{origin.name}: no file descriptor is free", retry_after=1) from cause
        raise UpstreamUnreachable(reason=f"{origin.name}: {error}") from cause
