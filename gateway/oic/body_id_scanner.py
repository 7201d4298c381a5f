"""Pure: looks for the instance id of one reply while its body passes."""

from collections.abc import Mapping, Sequence

from gateway.oic.instance_id import BODY_PART, InstanceIdRules, MediaKind


class InstanceIdScanner:
    """Is shown a body piece by piece and remembers its beginning, up to `BODY_PART` bytes. `instance_id` is what has
    been found so far; what is found in the body goes before what a header rule behind it says.
    """

    __slots__ = ("_beginning", "_kind", "_next", "_noted", "_passed", "_search", "_size", "instance_id")

    def __init__(
        self, search: InstanceIdRules, noted: Mapping[bytes, bytes], passed: Sequence[bytes], *, kind: MediaKind | None
    ) -> None:
        """`noted` and `passed` are of the reply's head, `kind` is what its body is."""
        self._search = search
        self._noted = noted
        self._passed = passed
        self._kind = kind
        self._beginning: list[bytes] = []
        self._size = 0
        self._next = 0
        self.instance_id: str | None = None

    def feed(self, pieces: Sequence[bytes]) -> None:
        """The next pieces of the body. It is searched anew only when twice as much is known: a body that comes byte by
        byte costs no more than twice one that comes at once.
        """
        if self._size >= BODY_PART or not pieces:
            return
        self._beginning += pieces
        self._size += sum(map(len, pieces))
        if self._size >= self._next or self._size >= BODY_PART:
            self._search_again()

    def end(self) -> None:
        """Nothing follows."""
        if self._size < self._next or not self._next:
            self._search_again()

    def _search_again(self) -> None:
        self._beginning = [b"".join(self._beginning)[:BODY_PART]]
        self._next = 2 * self._size
        self.instance_id = self._search.find(self._noted, self._passed, self._kind, self._beginning[0])
