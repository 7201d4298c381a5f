"""Pure: what a caller presents in the Authorization field: Basic credentials (RFC 7617) or a Bearer key (RFC 6750)."""

import base64
import binascii
import re
from typing import Literal, NamedTuple

Scheme = Literal["basic", "bearer", "repeated", "other"]
# RFC 9110 §11.4: a scheme, blanks, and a token68 or parameters.
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:[ ]+(.*))?", re.DOTALL)
# A second field with one of these schemes, which the parser of heads has joined with a comma (RFC 9110 §5.3).
ANOTHER = re.compile(rb",[ \t]*(?:basic|bearer)(?:[ \t]|\Z)", re.IGNORECASE)


class PresentedCredentials(NamedTuple):
    """The content of the field. `value` is the decoded `user:password` or the key; None if it is malformed."""

    scheme: Scheme
    value: bytes | None


def read_authorization(field: bytes) -> PresentedCredentials:
    """Read the field. The scheme is `repeated` if there are several fields, and one of them is Basic or Bearer."""
    if ANOTHER.search(field):
        return PresentedCredentials("repeated", None)
    match = FIELD.fullmatch(field)
    name = b"" if match is None else match[1].lower()
    value = b"" if match is None else match[2] or b""
    if name == b"basic":
        return PresentedCredentials("basic", _decode(value))
    if name == b"bearer":
        return PresentedCredentials("bearer", value or None)
    return PresentedCredentials("other", None)


def _decode(value: bytes) -> bytes | None:
    """Decode base64, with or without padding; None unless it has a colon, which separates user and password."""
    digits = value.rstrip(b"= ")
    try:
        decoded = base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if b":" in decoded else None
