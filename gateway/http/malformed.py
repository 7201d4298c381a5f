"""Explain why the beginning of a request is not well-formed HTTP/1.1, so that its sender can correct it. Pure.

Fields and targets may contain secrets. An explanation names the line, the column, and the name of a well-formed field.
It never quotes a value, a target, or a line that is not a field.
"""

import re
from collections.abc import Iterator

from gateway.http.fields import FIELD_NAME

QUOTED_NAME_LIMIT = 64  # maximum characters of a quoted field name
VERSION = re.compile(rb"HTTP/[0-9](?:\.[0-9])?", re.IGNORECASE)
SUPPORTED_VERSIONS = frozenset({b"HTTP/1.0", b"HTTP/1.1"})
HTTP2_PREFACE = b"PRI * HTTP/2.0"
# RFC 8446 §5.1: a record of type handshake, version 3.x. SSLv2: a length with its high bit set, then CLIENT-HELLO (1).
TLS_HELLO = re.compile(rb"\x16(?:\x03|\Z)|[\x80-\xff].\x01[\x00\x03]", re.DOTALL)
# The signature of version 2 begins with two empty lines, which the parser skips.
PROXY_PREFACE = re.compile(rb"PROXY |(?:\r\n\r\n)?\x00\r\nQUIT\n")
NOT_NAME_BYTE = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
NOT_ASCII_BYTE = re.compile(rb"[\x80-\xff]")
CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
BYTE_NAMES = {0x00: "NUL", 0x09: "a tab", 0x0A: "a bare LF", 0x0D: "a bare CR", 0x20: "a space"}


def explain_malformed_head(head: bytes) -> str:
    """Return the first fault of a head that `parse_request_head` or `check_partial_head` has rejected."""
    if TLS_HELLO.match(head) is not None:
        return "the caller sent a TLS handshake, and this port expects plain HTTP: use http:// in the caller's URL"
    if PROXY_PREFACE.match(head) is not None:
        return "a PROXY protocol header is not accepted from this address: list the address in `proxy_protocol`"
    if head.startswith(HTTP2_PREFACE):
        return "the caller sent HTTP/2, and this port expects HTTP/1.1: switch HTTP/2 off in the caller"
    lines = head.split(b"\r\n")
    # A CR at the end may be half of a CRLF: it is the fault only if there is no other one.
    lines[-1] = lines[-1].removesuffix(b"\r")
    if fault := next(_request_line_faults(lines[0]), ""):
        return f"the request line {fault}"
    for number, line in enumerate(lines[1:], 1):
        is_rest = number == len(lines) - 1 and not line
        if fault := "" if is_rest else next(_field_faults(line, is_first=number == 1), ""):
            return f"field line {number}{_quote_field_name(line)} {fault}"
    return "a line ends with a bare CR: lines end with CRLF"


def _request_line_faults(line: bytes) -> Iterator[str]:
    """Return the faults of a request line, the most helpful first."""
    if fault := _control_fault(line):
        yield fault
    if b"\t" in line:
        yield f"has a tab at column {line.index(9) + 1}: separate its parts by single spaces"
    if (match := NOT_ASCII_BYTE.search(line)) is not None:
        column = match.start() + 1
        yield f"has a character that is not ASCII (byte 0x{ord(match[0]):02X}) at column {column}: percent-encode it"
    method, *parts = line.split(b" ")
    if not method:
        yield "begins with a space" if line else "is empty"
    if FIELD_NAME.fullmatch(method) is None:
        yield "does not begin with a method, such as GET or POST"
    if not parts:
        yield "has a method and nothing else: METHOD TARGET HTTP/1.1 is needed"
    elif not parts[-1]:
        yield "ends with a space"
    else:
        yield from _version_faults(parts[-1], targets=parts[:-1])
        yield from _target_faults(parts[:-1], column=len(method) + 2)


def _version_faults(version: bytes, *, targets: list[bytes]) -> Iterator[str]:
    if VERSION.fullmatch(version) is None:
        if not targets:
            yield "has no version, as HTTP/0.9 had none: HTTP/1.1 must follow the target"
        yield "does not end with the version HTTP/1.1"
    elif version not in SUPPORTED_VERSIONS:
        yield f"has the version {version.decode('ascii')}: only HTTP/1.1 and HTTP/1.0 are supported"


def _target_faults(targets: list[bytes], *, column: int) -> Iterator[str]:
    """`targets`: the text between method and version, split at spaces; `column`: its first column."""
    if not targets:
        yield "has no target between method and version"
    elif len(targets) > 1 and not targets[0]:
        yield "has more than one space after the method"
    elif len(targets) > 1 and not any(targets[1:]):
        yield "has more than one space before the version"
    elif len(targets) > 1:
        yield f"has a space in its target, at column {column + len(targets[0])}: percent-encode it as %20"


def _field_faults(line: bytes, *, is_first: bool) -> Iterator[str]:
    if line[:1] in {b" ", b"\t"}:
        folded = "" if is_first else ": it continues the line before, and folded lines are not allowed"
        yield f"begins with white space{folded}"
    if fault := _control_fault(line):
        yield fault
    name, colon, _ = line.partition(b":")
    if not colon:
        yield "has no colon: it may be the rest of the value before it, such as base64 with line breaks"
    if not name:
        yield "has no name before its colon"
    if name != name.rstrip(b" \t"):
        yield "has white space between its name and the colon"
    if (match := NOT_NAME_BYTE.search(name)) is not None:
        yield f"has {_describe_byte(ord(match[0]))} in its name, at column {match.start() + 1}"


def _control_fault(line: bytes) -> str:
    match = CONTROL_BYTE.search(line)
    if match is None:
        return ""
    fault = f"has {_describe_byte(line[match.start()])} at column {match.start() + 1}"
    return f"{fault}: lines end with CRLF" if match[0] in b"\r\n" else fault


def _describe_byte(byte: int) -> str:
    if byte in BYTE_NAMES:
        return BYTE_NAMES[byte]
    kind = "a control byte" if byte < 0x20 or byte == 0x7F else "a character"
    return f"{kind} (0x{byte:02X})"


def _quote_field_name(line: bytes) -> str:
    """Return the name of a field in parentheses, or "" if it is not well-formed."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    if not colon or len(name) > QUOTED_NAME_LIMIT or FIELD_NAME.fullmatch(name) is None:
        return ""
    return f" ({name.decode('ascii')})"
