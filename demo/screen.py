"""The terminal output of the tour: for each step a heading, the command to repeat it, and the result."""

import os
import sys
from typing import TextIO

BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"


class Screen:
    """Writes to `out`, by default standard output; without colours if it is no terminal or NO_COLOR is set
    (no-color.org).
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out = sys.stdout if out is None else out
        self._is_colourful = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        is_unicode = (out.encoding or "").lower().replace("-", "") == "utf8"
        self._good, self._bad = ("✓", "✗") if is_unicode else ("ok", "FAILED")

    def title(self, text: str) -> None:
        """Print the first line."""
        self._write(self._paint(text, BOLD))

    def step(self, number: int, text: str) -> None:
        """Print the heading of a step."""
        self._write(f"\n{self._paint(f'{number:2}', CYAN)} {self._paint(text, BOLD)}")

    def command(self, line: str) -> None:
        """Print the command that repeats the step by hand."""
        self._write(self._paint(f"   $ {line}", DIM))

    def show(self, line: str) -> None:
        """Print a part of the result."""
        self._write(f"     {line}")

    def good(self, text: str) -> None:
        """Print what was verified."""
        self._write(f"   {self._paint(self._good, GREEN)} {text}")

    def bad(self, text: str) -> None:
        """Print what failed."""
        self._write(f"   {self._paint(self._bad, RED)} {text}")

    def end(self, text: str) -> None:
        """Print the last line."""
        self._write(f"\n{text}")

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_colourful else text

    def _write(self, text: str) -> None:
        print(text, file=self._out, flush=True)
