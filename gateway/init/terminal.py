"""Prompt the user at a terminal until the answer is valid."""

import getpass
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.config.corrections.pasted_text import InvalidInput

T = TypeVar("T")


class Back(Exception):
    """The user wants to answer the previous question again."""


class Aborted(Exception):
    """The user ended the input (Ctrl-C, Ctrl-D)."""


@dataclass(frozen=True, slots=True)
class Question:
    """A value to prompt for: its flag, its label, where the user finds it, and an example."""

    flag: str
    label: str
    where: str
    example: str = ""


class Terminal:
    """Prompts on standard output and reads standard input, which are both a terminal. Each method raises Aborted; `ask`
    and `confirm` raise Back for the answer `<`.
    """

    def ask(self, question: Question, correct: Callable[[str], T], *, default: str = "") -> T:
        """Return the corrected answer. Prompt again while `correct` raises InvalidInput."""
        show(f"\n{question.label}: {question.where} (type < to go back)")
        if question.example:
            show(f"  example: {question.example}")
        while True:
            try:
                return correct(self._line(f"{question.label}{f' [{default}]' if default else ''}: ") or default)
            except InvalidInput as cause:
                show(f"  {cause}")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Return True for yes and False for no; `default` for an empty line."""
        while True:
            answer = self._line(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
            if answer in _ANSWERS or not answer:
                return _ANSWERS.get(answer, default)
            show("  answer y or n")

    def secret(self, prompt: str) -> str:
        """Return hidden input; empty if it is not valid in the encoding of the terminal."""
        try:
            return getpass.getpass(prompt)
        except UnicodeDecodeError:
            return ""
        except (EOFError, KeyboardInterrupt):
            raise Aborted from None

    def _line(self, prompt: str) -> str:
        try:
            line = input(prompt)
        except (EOFError, KeyboardInterrupt):
            raise Aborted from None
        if line.strip() == _BACK:
            raise Back
        return line


_BACK = "<"
_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


def show(line: str) -> None:
    """Print a line for the user at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def is_interactive() -> bool:
    """Return whether standard input and output are a terminal, so that the user can be prompted."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
