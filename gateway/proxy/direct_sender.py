"""Send bytes of a response's body to the caller in the callback that reads them from the upstream.

No task runs between the two, and the bytes are not copied. What needs more than that is left to `response`.
"""

from typing import cast

import msgspec

from gateway.proxy.exchange import Exchange
from gateway.proxy.rewriting import Rewriter


class DirectSender(msgspec.Struct, eq=False):
    """Sends the bytes of one body, whose head is sent. `rewriter` is that of a body that may contain OIC URLs."""

    exchange: Exchange
    rewriter: Rewriter | None = None

    def try_send(self, data: bytes | memoryview) -> bool:
        """Send the next bytes of the body. Return False, and send none, if the caller must be waited for, or if the
        bytes must be rewritten or searched for the instance id.
        """
        exchange = self.exchange
        if exchange.id_scanner is not None or not exchange.response.started or not exchange.caller.has_room:
            return False
        pieces = [cast(bytes, data)]
        if self.rewriter is not None:
            passed = self.rewriter.pass_unchanged(data)
            if passed is None:
                return False
            held, size = passed
            pieces = [held, cast(bytes, memoryview(data)[:size])]
        exchange.response.send_body(pieces)
        return True

    @property
    def has_unsent_bytes(self) -> bool:
        """Whether bytes that were sent may still be in use."""
        return self.exchange.caller.has_unsent_bytes
