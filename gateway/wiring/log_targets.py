"""The log of a process, as `log:` of the configuration sets it."""

from pathlib import Path

from gateway.config.log_model import LogSettings
from gateway.config.values import split_address
from gateway.observe.journal_entry import MessageFormat
from gateway.observe.journal_writer import SOCKET, JournalWriter
from gateway.observe.log import Log, set_up_log
from gateway.observe.log_file import LogFile
from gateway.observe.syslog_writer import SyslogWriter


class LogUnavailable(OSError):
    """The target of the log cannot be used. The message has the remedy."""


def open_log(settings: LogSettings) -> Log:
    """Return the log of this process. Raise LogUnavailable."""
    return set_up_log(settings.level, settings.format, target=_open_target(settings), sample=settings.sample)


def _open_target(settings: LogSettings) -> LogFile | SyslogWriter | JournalWriter | None:
    target = settings.to
    if target is None or target == "stdout":
        return None
    if target == "journald":
        return _open_journal("text" if settings.format == "auto" else settings.format)
    if target.syslog is not None:
        host, port = split_address(target.syslog)
        return SyslogWriter((host, port) if port else host)
    return _open_file(str(target.path), max_bytes=target.size or 0, count=target.count)


def _open_journal(message_format: MessageFormat) -> JournalWriter:
    """Return the writer. systemd keeps the socket while journald restarts: without a socket there is no journald."""
    try:
        Path(SOCKET).stat()
    except OSError as error:
        raise LogUnavailable(
            f"journald (log.to) has no socket `{SOCKET}` ({error.strerror}); start the gateway where systemd runs, "
            "mount the socket into its container, or set `log.to` to another target"
        ) from error
    return JournalWriter(message_format=message_format)


def _open_file(path: str, *, max_bytes: int, count: int) -> LogFile:
    try:
        return LogFile(Path(path), max_bytes=max_bytes, count=count)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LogUnavailable(
            f"the log file `{path}` (log.to.path) cannot be opened ({reason}); create its folder, or correct "
            "its permissions"
        ) from error
