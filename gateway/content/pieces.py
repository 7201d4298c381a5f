"""Join small pieces of a body that is buffered.

A peer may send single bytes, and each piece is an object that needs fifty bytes in addition to its content.
"""

MAX_PIECES = 64  # more pieces are joined if they are small on average
SMALL_PIECE = 512  # bytes


def coalesce(pieces: list[bytes], more: list[bytes], *, size: int) -> list[bytes]:
    """Return `pieces` and `more`, joined so that they need little more memory than their bytes. Change `pieces`.

    `size` is the total number of bytes, or more.
    """
    if len(more) > 1:
        more = [b"".join(more)]
    pieces += more
    return [b"".join(pieces)] if len(pieces) > MAX_PIECES and size < len(pieces) * SMALL_PIECE else pieces
