"""The log of a process, as `log:` of the configuration sets it."""

from pathlib import Path

from gateway.config.log_model import LogSettings
from gateway.config.values import split_address
from gateway.observe.log import Log, set_up_log
from gateway.observe.log_file import LogFile
from gateway.observe.syslog_writer import SyslogWriter


class LogUnavailable(OSError):
    """The log file cannot be opened. The message has the remedy."""


def open_log(settings: LogSettings) -> Log:
    """Return the log of this process. Raise LogUnavailable."""
    file, syslog = _open_file(settings), _syslog_writer(settings)
    return set_up_log(settings.level, settings.format, file=file, syslog=syslog, sample=settings.sample)


def _syslog_writer(settings: LogSettings) -> SyslogWriter | None:
    if settings.to is None or settings.to.syslog is None:
        return None
    host, port = split_address(settings.to.syslog)
    return SyslogWriter((host, port) if port else host)


def _open_file(settings: LogSettings) -> LogFile | None:
    target = settings.to
    if target is None or target.path is None:
        return None
    try:
        return LogFile(Path(target.path), max_bytes=target.size or 0, count=target.count)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LogUnavailable(
            f"the log file `{target.path}` (log.to.path) cannot be opened ({reason}); create its folder, or correct "
            "its permissions"
        ) from error
