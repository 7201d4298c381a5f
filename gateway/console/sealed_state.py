"""State of a login that a browser carries in a cookie: encrypted, for one purpose, for a short time.

The gateway stores nothing for people who are not logged in, so they cannot fill its memory.
"""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

from gateway.oauth.stores.entry_cipher import EntryCipher


class SealedState:
    """Seals and opens states with a random key of this process."""

    def __init__(self) -> None:
        self._cipher = EntryCipher([secrets.token_bytes(32)])

    def seal(self, purpose: str, values: Mapping[str, str], *, until: float) -> str:
        """Return the values as text for a cookie. They can be opened for the same purpose up to the time `until`."""
        plain = json.dumps({"until": until, "values": dict(values)}).encode()
        return urlsafe_b64encode(self._cipher.encrypt(purpose, plain)).decode().rstrip("=")

    def open(self, purpose: str, text: str, *, now: float) -> dict[str, str] | None:
        """Return the values; None for a text that was altered, has another purpose, or is too old."""
        try:
            sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        plain = self._cipher.decrypt(purpose, sealed)
        if plain is None:
            return None
        document = json.loads(plain)
        values: dict[str, str] = document["values"]
        return values if now < document["until"] else None
