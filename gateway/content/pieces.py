"""Pure: bytes that wait in memory in the pieces in which they came.

A peer may send a byte at a time, and each piece is an object of some fifty bytes beside its content.
"""

MANY = 64  # pieces, and bytes of an average one: more that are smaller are joined
SMALL = 512


def coalesce(pieces: list[bytes], more: list[bytes], *, size: int) -> list[bytes]:
    """Return `pieces` with `more` added, `size` bytes together at most, in as few pieces as weigh little more than
    their bytes. Changes `pieces`.
    """
    if len(more) > 1:
        more = [b"".join(more)]
    pieces += more
    return [b"".join(pieces)] if len(pieces) > MANY and size < len(pieces) * SMALL else pieces
