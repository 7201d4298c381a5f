"""Log lines as RFC 5424 messages, and their framing on a stream. Pure."""

NAME = "oic-gateway"
"""Name of the program in syslog and in the journal."""
MAX_MESSAGE = 64 * 1024
"""Maximum bytes of a message: syslog-ng closes a connection with a longer one."""
_LOCAL0 = 16
_SEVERITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def severity(level: str) -> int:
    """Return the severity of a level (RFC 5424 §6.2.1)."""
    return _SEVERITIES.get(level, 6)


def syslog_message(line: bytes, *, level: str, time: str, event: str, host: str, process: int) -> bytes:
    """Return a line as an RFC 5424 message of the facility local0; `event` is its MSGID. A message above `MAX_MESSAGE`
    is cut after a whole character (§6.1).
    """
    priority = _LOCAL0 * 8 + severity(level)
    header = f"<{priority}>1 {time or '-'} {host} {NAME} {process} {event[:32]} - "
    message = header.encode() + line.rstrip(b"\n")
    return message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE].decode(errors="ignore").encode()


def printable_ascii(name: str) -> str:
    """Return the name of a host as a message has it: printable ASCII without a space (RFC 5424 §6.2.4)."""
    return "".join(char if "!" <= char <= "~" else "-" for char in name)[:255] or "-"


def count_octets(message: bytes) -> bytes:
    """Return a message with its length before it (RFC 6587 §3.4.1)."""
    return b"%d %b" % (len(message), message)


def end_line(message: bytes) -> bytes:
    """Return a message with a line feed after it (RFC 6587 §3.4.2). A line feed in the message, which only traces in
    text have, becomes `#012`, as rsyslog writes it.
    """
    return message.replace(b"\n", b"#012") + b"\n"
