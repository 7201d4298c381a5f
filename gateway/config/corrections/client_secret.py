"""Check the client id and the name of the file that holds the client secret. Pure.

A secret that is pasted in place of a file name would be written into the configuration, which other users can read. A
text that may be a secret is therefore rejected, and no message contains it.
"""

import re

from gateway.config.corrections.pasted_text import Corrected, InvalidInput, strip_pasted

_ID = re.compile(r"[0-9a-fA-F]{32}")
_WHERE = "copy `Client ID` from the application's OAuth configuration, General Information"
# Secrets of identity domains, and random texts: hex, or letters of both cases with digits.
_DOMAIN_SECRET = re.compile(r"(?:idcscs-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RANDOM_TEXT = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+_=~!@#$%^&*-]{16,}")
_SECRETS = (_DOMAIN_SECRET, re.compile(r"[0-9a-f]{24,}", re.IGNORECASE), _RANDOM_TEXT)
_FIRST_FOLDERS = ("", ".", "..", "~")


def refuse_secret(text: str) -> str:
    """Return the text of another value. Raise InvalidInput if it may be a client secret, because it would be displayed
    and written into the configuration. Hex is accepted: ids and audiences are hex.
    """
    value = text.strip()
    if _DOMAIN_SECRET.fullmatch(value) or _RANDOM_TEXT.fullmatch(value):
        raise InvalidInput("may be a client secret; it is discarded, paste the requested value")
    return text


def client_id(text: str, *, is_domain: bool = False) -> Corrected:
    """Return the client id. `is_domain`: it belongs to an identity domain, whose ids are hex and whose secrets are not.

    Raise InvalidInput for a secret, and for a text with white space, which usually is the name of the application.
    """
    pasted = strip_pasted(text)
    if pasted.value.lower().startswith("idcscs-") or (is_domain and _DOMAIN_SECRET.fullmatch(pasted.value)):
        raise InvalidInput(f"is the client secret, not the id; it is discarded, {_WHERE}")
    joined = "".join(pasted.value.split())
    if joined == pasted.value:
        if not re.fullmatch(r"[!-~]+", joined):
            raise InvalidInput(f"has a character that is not allowed in client ids; {_WHERE}")
        return pasted
    if _ID.fullmatch(joined):
        return Corrected(joined, (*pasted.changes, "removed white space within the value"))
    raise InvalidInput(f"has white space in it, like the name of an application; {_WHERE}")


def secret_file(text: str, *, exists: bool) -> Corrected:
    """Return the name of the file that holds the secret; `exists`: there is a file with this name.

    Raise InvalidInput for a text that may be the secret itself. A file that does not exist must be named with its
    folder (`./NAME`, `/run/secrets/NAME`).
    """
    if exists:
        return Corrected(text)
    pasted = strip_pasted(text)
    folder, *names = pasted.value.split("/")
    if folder not in _FIRST_FOLDERS or not names or any(_may_be_secret(name) for name in names):
        raise InvalidInput(
            "names no file that exists; if this is the secret, write it to a file and name the file; if you will "
            "create the file later, write ./NAME or its absolute path"
        )
    if "\x00" in pasted.value or not names[-1]:
        raise InvalidInput("names no file; write ./NAME or its absolute path")
    return pasted


def _may_be_secret(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in _SECRETS)
