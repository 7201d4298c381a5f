"""Join small pieces of a body that wait in memory.

A peer may send single bytes, and each piece is an object that needs fifty bytes beside its content.
"""

MAX_PIECES = 64  # pieces; more of them are joined if they are small on average
SMALL_PIECE = 512  # bytes


def coalesce(pieces: list[bytes], more: list[bytes], *, size: int) -> list[bytes]:
    """Return `pieces` with `more` added, `size` bytes in total at most, joined so that they need little more memory
    than their bytes. Change `pieces`.
    """
    if len(more) > 1:
        more = [b"".join(more)]
    pieces += more
    return [b"".join(pieces)] if len(pieces) > MAX_PIECES and size < len(pieces) * SMALL_PIECE else pieces
