"""Characters that texts copied from web pages and mails contain. No id, URL or scope contains them. Pure."""

import re

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
"""Invisible characters: zero-width ones and the soft hyphen."""
# Dashes, quotation marks, spaces other than U+0020, direction marks.
_VISIBLE = "\u2010-\u2015\u2018-\u201f\u00ab\u00bb\u00a0\u2000-\u200a\u202f\u3000\u2028-\u202e"
_TYPOGRAPHIC = re.compile(f"[{_VISIBLE}{INVISIBLE}]")


def typographic(text: str) -> str:
    """Return the name of the first typographic character, for a message; empty if there is none."""
    found = _TYPOGRAPHIC.search(text)
    return f"the character U+{ord(found[0]):04X}, which comes from web pages and mails" if found else ""
