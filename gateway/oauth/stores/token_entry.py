"""A token as it is written down, for other processes and other times. Pure.

The monotonic clock of one process means nothing to another, so every instant is written in epoch seconds and turned
into the reader's own. A field that a newer release has added is passed over; one that is missing makes the entry
unreadable, and a token is fetched anew.
"""

import json
from dataclasses import fields
from typing import Any

from gateway.oauth.lifetime import Token

_NUMBERS = ("_at", "_wall")  # by a field's last word: an instant of the monotonic clock, one of the wall clock
_LAST = 1e12  # seconds; no clock says more
MOST_SKEW = 60.0
"""Seconds by which a writer's clock may be ahead of ours. More: one of the two clocks has jumped."""


def pack(token: Token, *, now: float, wall: float) -> bytes:
    """The token in writing; `now` (monotonic) and `wall` are one instant of the writer's clocks."""
    ahead = wall - now
    facts = {field.name: getattr(token, field.name) for field in fields(Token)}
    return json.dumps({name: _shifted(name, value, ahead) for name, value in facts.items()}).encode()


def unpack(written: bytes, *, now: float, wall: float) -> Token:
    """The token, its instants by the reader's clocks. Raises ValueError for anything that `pack` has not written, and
    for a token that was obtained in the future.

    A token that seems obtained a little later than now comes from a clock ahead of ours by at least so much: it is
    taken to be obtained now, and ends so much earlier.
    """
    document = json.loads(written)
    if not isinstance(document, dict):
        raise ValueError("not a token")  # noqa: TRY004 - to callers, all that is unreadable is a ValueError
    known = {field.name: _checked(field.name, document.get(field.name)) for field in fields(Token)}
    early = max(0.0, known["obtained_at"] - wall)
    if early > MOST_SKEW:
        raise ValueError("obtained in the future")
    return Token(
        **{
            name: value - early if name.endswith("_wall") else _shifted(name, value, now - wall - early)
            for name, value in known.items()
        }
    )


def _shifted(name: str, value: Any, seconds: float) -> Any:
    return value + seconds if name.endswith("_at") else value


def _checked(name: str, value: Any) -> Any:
    if name.endswith(_NUMBERS):
        good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LAST
    else:
        good = isinstance(value, str)
    if not good:
        raise ValueError(f"`{name}` is missing or makes no sense")
    return value
