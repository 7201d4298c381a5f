"""The client: its id, and the file that holds its secret. Pure.

A secret that was pasted in place of a file's name would be written into the configuration, which others may read.
Whatever could be one is therefore refused, and no sentence here shows it.
"""

import re

from gateway.config.corrections.pasted_text import Corrected, InvalidInput, bare

_ID = re.compile(r"[0-9a-fA-F]{32}")
_WHERE = "copy `Client ID` from the application's OAuth configuration, General Information"
# Secrets as identity domains make them, and what luck makes: letters of both cases and digits, or hex.
_DOMAINS = re.compile(r"(?:idcscs-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9+_=~!@#$%^&*-]{16,}")
_LUCK = (_DOMAINS, re.compile(r"[0-9a-f]{24,}", re.IGNORECASE), _MIXED)
_HERE = ("", ".", "..", "~")


def refuse_secret(text: str) -> str:
    """The text, which is meant for another question. Raises Uncorrectable where it may be a client secret: it would be
    shown, and written into the configuration. Hex is let through, since ids and audiences are.
    """
    value = text.strip()
    if _DOMAINS.fullmatch(value) or _MIXED.fullmatch(value):
        raise InvalidInput(
            "may be a client secret, which does not belong here; it is not kept, paste what was asked for"
        )
    return text


def client_id(text: str, *, is_domain: bool = False) -> Corrected:
    """The client id; `is_domain`: of an identity domain, whose ids are hex and whose secrets are not.

    Raises Uncorrectable for one with white space in it: that is the application's name, mostly; and for a secret.
    """
    pasted = bare(text)
    if pasted.value.lower().startswith("idcscs-") or (is_domain and _DOMAINS.fullmatch(pasted.value)):
        raise InvalidInput(f"is the client secret, not the id; it is not kept, {_WHERE}")
    together = "".join(pasted.value.split())
    if together == pasted.value:
        if not re.fullmatch(r"[!-~]+", together):
            raise InvalidInput(f"has a character that ids do not have; {_WHERE}")
        return pasted
    if _ID.fullmatch(together):
        return Corrected(together, (*pasted.changes, "took out the white space within it"))
    raise InvalidInput(f"has white space in it, as the name of an application may; {_WHERE}")


def secret_file(text: str, *, exists: bool) -> Corrected:
    """The name of the file that holds the secret; `exists`: there is such a file.

    Raises Uncorrectable for what may be the secret itself: of a file that is not there yet, only a name that says where
    (`./NAME`, `/run/secrets/NAME`) is taken.
    """
    if exists:
        return Corrected(text)
    pasted = bare(text)
    folder, *names = pasted.value.split("/")
    if folder not in _HERE or not names or any(luck.fullmatch(name) for name in names for luck in _LUCK):
        raise InvalidInput(
            "names no file that is there; if it is the secret itself, put it into a file and name that, if it is a "
            "file that is still to come, write ./NAME or its whole path"
        )
    if "\x00" in pasted.value or not names[-1]:
        raise InvalidInput("names no file; write ./NAME or its whole path")
    return pasted
