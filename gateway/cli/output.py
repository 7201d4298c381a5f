"""Standard output and standard error of the commands: any encoding, a closed pipe, a full disk.

`run_with_output` prepares both streams and runs a command. A character that the encoding lacks is then replaced instead
of raising UnicodeEncodeError. A failed write of standard output raises OutputError, so that code that handles OSError
does not take it for its own failure.
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

# Characters of the gateway's own texts. No replacement has a double quotation mark: the text may be JSON.
_REPLACEMENTS = {"\u2026": "...", "\u2192": "->", "\u2013": "-", "\u2014": "-", "\u00a7": "section ", "\u25ba": ">"}
_REPLACEMENTS |= dict.fromkeys("\u2018\u2019\u201c\u201d", "'")
_REPLACEMENTS |= dict.fromkeys("\u2500\u2514\u2518", "-")
_ERROR_HANDLER = "gateway-replace"
_IO_ERROR = 74  # sysexits, EX_IOERR
_READER_GONE = 141  # 128 + SIGPIPE, the status of a program that the signal ends
_CLOSED = OSError(errno.EBADF, os.strerror(errno.EBADF))


class OutputError(Exception):
    """Standard output cannot be written: its reader has ended, its disk is full, or it was closed from the start."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"cannot write to standard output: {cause.strerror or cause}")
        self.is_reader_gone = isinstance(cause, BrokenPipeError)


class _Descriptor(io.FileIO):
    """A descriptor that drops all output after its first failed write."""

    def __init__(self, descriptor: int, *, is_quiet: bool, failure: OSError | None) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._is_quiet = is_quiet
        self._failure = failure
        self._has_failed = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write. Raise OutputError for the first failure, unless the stream is quiet."""
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
    """Run `work` and return its exit status; 141 if the reader of standard output has ended, as in `| head`; 74 with a
    line on standard error if standard output cannot be written.
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
    """Make `sys.stdout` and `sys.stderr` safe to print to. A failed write of standard error is ignored.

    A closed descriptor is opened on the null device: else the next file or socket would get its number, and would
    receive the output. Streams that other code has replaced stay unchanged.
    """
    codecs.register_error(_ERROR_HANDLER, _replace)
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
    """Make the replacement of the stream `old`, which is None if the descriptor was closed when Python started."""
    raw = _Descriptor(descriptor, is_quiet=is_quiet, failure=None if old else _CLOSED)
    is_unbuffered = isinstance(old, io.TextIOWrapper) and isinstance(old.buffer, io.RawIOBase)  # PYTHONUNBUFFERED
    return io.TextIOWrapper(
        raw if is_unbuffered else io.BufferedWriter(raw),
        encoding=old.encoding if old else "utf-8",
        errors=_ERROR_HANDLER,
        line_buffering=raw.isatty() or is_quiet,
        write_through=is_unbuffered,
    )


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks, by ASCII for the gateway's own texts, else by the escape of JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_REPLACEMENTS.get(letter) or json.dumps(letter)[1:-1] for letter in lacking), error.end
