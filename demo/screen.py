"""What the terminal shows of the tour: a heading per step, the command to repeat it, and what came of it."""

import os
import sys
from typing import TextIO

BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"


class Screen:
    """Writes to `out`, by default standard output; plain where that is no terminal, or where NO_COLOR is set
    (no-color.org).
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out = sys.stdout if out is None else out
        self._is_colourful = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        is_unicode = (out.encoding or "").lower().replace("-", "") == "utf8"
        self._good, self._bad = ("✓", "✗") if is_unicode else ("ok", "FAILED")

    def title(self, text: str) -> None:
        """The first line."""
        self._write(self._paint(text, BOLD))

    def step(self, number: int, text: str) -> None:
        """Begins a step."""
        self._write(f"\n{self._paint(f'{number:2}', CYAN)} {self._paint(text, BOLD)}")

    def command(self, line: str) -> None:
        """The command line that repeats the step by hand."""
        self._write(self._paint(f"   $ {line}", DIM))

    def show(self, line: str) -> None:
        """Something that came back."""
        self._write(f"     {line}")

    def good(self, text: str) -> None:
        """What was verified."""
        self._write(f"   {self._paint(self._good, GREEN)} {text}")

    def bad(self, text: str) -> None:
        """What is not as it should be."""
        self._write(f"   {self._paint(self._bad, RED)} {text}")

    def end(self, text: str) -> None:
        """The last line."""
        self._write(f"\n{text}")

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_colourful else text

    def _write(self, text: str) -> None:
        print(text, file=self._out, flush=True)
