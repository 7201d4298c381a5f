"""Keeps a corpus small: of many inputs those that, in order of their sizes, take the readers along a new way."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import gateway.proxy

READERS = frozenset(
    str(Path(gateway.proxy.__path__[0]) / f"{name}.py")
    for name in ("chunks", "fields", "headers", "replies", "requests")
)

Check = Callable[[bytes], None]
Step = tuple[str, int, int]
"""A file, and two of its lines that were run one after the other."""
OFTEN = 3


def steps(check: Check, data: bytes) -> set[tuple[Step, int]]:
    """The steps that the readers take while these bytes are checked, and how often within one call, up to `OFTEN`."""
    taken: set[tuple[Step, int]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Callable[[FrameType, str, Any], Any] | None:
        code = frame.f_code
        if code.co_filename not in READERS:
            return None
        last = code.co_firstlineno
        here: Counter[Step] = Counter()

        def step(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                way = (code.co_filename, last, frame.f_lineno)
                here[way] += 1
                taken.add((way, min(here[way], OFTEN)))
                last = frame.f_lineno
            return step

        return step

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check(data)
    finally:
        sys.settrace(before)
    return taken


def thinned(check: Check, inputs: Iterable[bytes]) -> list[bytes]:
    """Of these inputs as few as take all steps that all of them take, more or less: the smallest first."""
    known: set[tuple[Step, int]] = set()
    chosen_inputs = []
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        taken = steps(check, data)
        if taken - known:
            known |= taken
            chosen_inputs.append(data)
    return chosen_inputs
