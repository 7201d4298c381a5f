"""Standard output and standard error of the verbs: any encoding, and a reader or a disk that takes no more.

`run_with_output` runs a verb whose output is prepared. From then on a character that the encoding lacks is spelled
instead of raising UnicodeEncodeError, and a failed write of standard output raises OutputError, so that nothing that
handles OSError takes it for a failure of its own.
"""

import codecs
import errno
import io
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Characters of the gateway's own texts. No spelling has a double quotation mark: the text may be JSON.
_SPELLINGS = {"\u2026": "...", "\u2192": "->", "\u2013": "-", "\u2014": "-", "\u00a7": "section ", "\u25ba": ">"}
_SPELLINGS |= dict.fromkeys("\u2018\u2019\u201c\u201d", "'")
_SPELLINGS |= dict.fromkeys("\u2500\u2514\u2518", "-")
_SPELL = "gateway-spell"
_IO_ERROR = 74  # sysexits, EX_IOERR
_READER_GONE = 141  # 128 + SIGPIPE, the status of a program that the signal ends
_CLOSED = OSError(errno.EBADF, os.strerror(errno.EBADF))


class OutputError(Exception):
    """Standard output takes no more: its reader is gone, its disk is full, or it was closed from the start."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"cannot write to standard output: {cause.strerror or cause}")
        self.is_reader_gone = isinstance(cause, BrokenPipeError)


class _Descriptor(io.FileIO):
    """A descriptor that is written to until the first failure; what comes later is dropped."""

    def __init__(self, descriptor: int, *, is_quiet: bool, failure: OSError | None) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._is_quiet = is_quiet
        self._failure = failure
        self._has_failed = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """Raises OutputError for the first failure, unless it is quiet."""
        if not self._has_failed:
            try:
                if self._failure is not None:
                    raise self._failure
                return super().write(data)
            except OSError as cause:
                self._has_failed = True
                if not self._is_quiet:
                    raise OutputError(cause) from cause
        return memoryview(data).nbytes


def run_with_output(work: Callable[[], int]) -> int:
    """The exit status of `work`. It is 141 where the reader of standard output is gone, as in `| head`, and 74 with a
    line on standard error where standard output cannot be written.
    """
    _prepare_output()
    try:
        try:
            return work()
        finally:
            sys.stdout.flush()  # the interpreter would do it too late for an exit status
    except OutputError as error:
        if error.is_reader_gone:
            return _READER_GONE
        sys.stderr.write(f"oic-gateway: {error}\n")
        return _IO_ERROR


def _prepare_output() -> None:
    """Makes `sys.stdout` and `sys.stderr` safe to print to. A failed write of standard error is ignored.

    A closed descriptor is opened on the null device: else the next file or socket would get its number, and with it
    what is printed. Streams that someone else has put in place are left alone.
    """
    codecs.register_error(_SPELL, _spell)
    for descriptor in range(3):
        _open_if_closed(descriptor)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, sys.stdout, is_quiet=False)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, sys.stderr, is_quiet=True)
    if isinstance(sys.stdin, io.TextIOWrapper):  # a line that is not text must not raise UnicodeDecodeError
        sys.stdin.reconfigure(errors="surrogateescape")


def _open_if_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - the lowest free number, this one


def _stream(descriptor: int, old: TextIO | None, *, is_quiet: bool) -> TextIO:
    """The stream in place of `old`, which is None where the descriptor was closed when Python started."""
    raw = _Descriptor(descriptor, is_quiet=is_quiet, failure=None if old else _CLOSED)
    is_unbuffered = isinstance(old, io.TextIOWrapper) and isinstance(old.buffer, io.RawIOBase)  # PYTHONUNBUFFERED
    return io.TextIOWrapper(
        raw if is_unbuffered else io.BufferedWriter(raw),
        encoding=old.encoding if old else "utf-8",
        errors=_SPELL,
        line_buffering=raw.isatty() or is_quiet,
        write_through=is_unbuffered,
    )


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spells what an encoding lacks: a likeness of the gateway's own characters, else the escape of JSON and YAML."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SPELLINGS.get(letter) or json.dumps(letter)[1:-1] for letter in lacking), error.end
