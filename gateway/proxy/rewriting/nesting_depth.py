"""The depth of a JSON text: how many braces and brackets are open, counted without parsing."""

from itertools import accumulate

BACKLOG = 32 * 1024  # quotes and braces that are not counted before that is necessary
STEPS = {byte: 1 if byte in b"{[" else -1 for byte in b"{}[]"}
NO_STRUCTURE = bytes(set(range(256)) - set(b'"{}[]'))


class NestingDepth:
    """Counts open braces and brackets outside of strings."""

    def __init__(self) -> None:
        self._counted = 0
        self._escape = b""
        self._marks: list[bytes] = []
        self._size = 0
        self._lowest: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the text that was open at the call of `watch` has ended, as far as it has been counted."""
        return self._lowest is not None and self._lowest < 1

    def watch(self) -> None:
        """Detect the end of the text from here on."""
        if self._lowest is None:
            self._lowest = self.count()

    def add(self, data: bytes) -> None:
        """Add the next bytes of a JSON text."""
        if self._escape or b"\\" in data:
            data = (self._escape + data).replace(rb"\\", b"").replace(rb"\"", b"")
            self._escape = b"\\" if data.endswith(b"\\") else b""
        marks = data.translate(None, NO_STRUCTURE)
        if not marks:
            return
        self._marks.append(marks)
        self._size += len(marks)
        if self._size > BACKLOG:
            self.count()

    def count(self) -> int:
        """Return how many are open."""
        # Two quotes without a brace between them are removed: this does not change which braces are inside of strings.
        parts = b"".join(self._marks).replace(b'""', b"").split(b'"')
        outside = b"".join(parts[::2])
        if self._lowest is not None:
            self._lowest = min(self._lowest, *accumulate(map(STEPS.__getitem__, outside), initial=self._counted))
        self._counted += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
        is_open = len(parts) % 2 == 0
        self._marks = [b'"'] if is_open else []
        self._size = 0
        return self._counted
