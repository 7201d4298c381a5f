"""Characters that copying from a page or a mail brings along, and that no id, URL or scope has. Pure."""

import re

UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
"""Characters that no screen shows: of no width, and the soft hyphen."""
# Dashes, quotation marks, blanks that are not U+0020, marks of direction.
_SEEN = "\u2010-\u2015\u2018-\u201f\u00ab\u00bb\u00a0\u2000-\u200a\u202f\u3000\u2028-\u202e"
_TYPOGRAPHIC = re.compile(f"[{_SEEN}{UNSEEN}]")


def typographic(text: str) -> str:
    """Names the first such character for a message; empty where there is none."""
    found = _TYPOGRAPHIC.search(text)
    return f"the character U+{ord(found[0]):04X}, as pages and mails have it" if found else ""
