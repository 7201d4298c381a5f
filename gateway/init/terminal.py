"""A person at a terminal, who is asked until there is an answer that can be used."""

import getpass
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.config.corrections.pasted_text import InvalidInput

T = TypeVar("T")


class Back(Exception):
    """The person wants to answer the question before this one again."""


class Aborted(Exception):
    """The answers have come to their end (Ctrl-C, Ctrl-D): nothing more is to be done."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for: the flag that says it too, its name for a person, where it is found, and how it looks."""

    flag: str
    label: str
    where: str
    example: str = ""


class Terminal:
    """Asks on standard output, reads from standard input; both are a terminal. Each raises Gone, and Back for the
    answer `<`.
    """

    def ask(self, question: Question, correct: Callable[[str], T], *, default: str = "") -> T:
        """The answer as `correct` makes it; asked again while that raises Uncorrectable."""
        show(f"\n{question.label}: {question.where} (type < to go back)")
        if question.example:
            show(f"  like {question.example}")
        while True:
            try:
                return correct(self._line(f"{question.label}{f' [{default}]' if default else ''}: ") or default)
            except InvalidInput as cause:
                show(f"  {cause}")

    def confirm(self, question: str, *, default: bool) -> bool:
        """Yes or no; `default` for an empty line."""
        while True:
            answer = self._line(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
            if answer in _ANSWERS or not answer:
                return _ANSWERS.get(answer, default)
            show("  say y or n")

    def secret(self, prompt: str) -> str:
        """What is typed without being shown; empty for bytes that are no text in the terminal's encoding."""
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
    """One line for whoever runs the verb."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def is_there() -> bool:
    """Whether a person can be asked: both ends are a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
