"""The shape of `log:`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from gateway.config.strict_model import StrictModel, exactly_one
from gateway.config.values import Address, FilePath, Size, split_address


def _file_size(value: int) -> int:
    if value < 64 * 1024:
        raise ValueError("must be 64KiB or more; write it like 100MiB")
    return value


def _receiver(value: str) -> str:
    if not value.startswith("unix:") and split_address(value)[1] == 0:
        raise ValueError("has no port; write HOST:PORT, like logs.corp:601")
    return value


class LogTargetSettings(StrictModel):
    """Log file, which tools like logrotate may rename, or syslog receiver; exactly one of `path` and `syslog`."""

    model_config = exactly_one("path", "syslog")

    path: FilePath | None = None
    """Log file, created with mode 0640 if it does not exist; relative to the configuration file."""
    syslog: Annotated[Address, AfterValidator(_receiver)] | None = None
    """Receiver of RFC 5424 messages: unix:/path of a datagram or stream socket, or HOST:PORT for TCP with octet
    counting (RFC 6587)."""
    size: Annotated[Size, AfterValidator(_file_size)] | None = None
    """Size above which the file is renamed to PATH.1, PATH.1 to PATH.2 and so on; omitted: it is never renamed."""
    count: Annotated[int, Field(ge=1, le=1000)] = 10
    """Number of renamed files that are kept."""

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if (self.path is None) == (self.syslog is None):
            raise ValueError("needs exactly one of `path` and `syslog`; write path: FILE, or syslog: unix:/dev/log")
        if self.syslog is not None and (unused := sorted(self.model_fields_set & {"count", "size"})):
            raise ValueError(f"has `{unused[0]}`, which only a file has; remove it, or write path: FILE")
        return self


def _kind(value: object) -> str:
    return "[keys]" if isinstance(value, dict | StrictModel) else "[one]"


# The discriminator keeps an error in one shape from being reported for the other, too; `messages` drops the tags.
LogTarget = Annotated[
    Annotated[Literal["stdout", "journald"], Tag("[one]")] | Annotated[LogTargetSettings, Tag("[keys]")],
    Discriminator(_kind),
]


class LogSettings(StrictModel):
    """Log: records of requests, and events."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level of events that are written; records of requests are written at any level."""
    format: Literal["auto", "json", "text", "combined"] = "auto"
    """`json` lines, readable `text`, `combined` (access log as Apache's; events go to standard error), or `auto`: text
    on a terminal, else json."""
    to: LogTarget | None = "stdout"
    """Target: `stdout`, `journald` (entries with fields), a file, or a syslog receiver."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the successful requests whose records are logged; those with an error or a status from 400 on always
    are. History and metrics have all."""
