"""Pure: media types with their parameters (RFC 9110 §8.3), and the root part of a multipart body (RFC 2387), which is
where SOAP with attachments and MTOM have their envelope.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gateway.content.charsets import UnreadableText

PARAMETER = re.compile(r";\s*([^\s=;,\"]++)\s*=\s*(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;,\"]*+))")
UNQUOTED = re.compile(r"\\(.)")
KIND = re.compile(r"\s*([^\s;,]*)")
XML_KINDS = frozenset(
    f"{main}/{sub}" for main in ("text", "application") for sub in ("xml", "x-xml", "xml-external-parsed-entity")
)
HEAD_END = re.compile(rb"\n\r?\n")
FIELDS = {
    name: re.compile(rb"(?im)^%b[ \t]*:[ \t]*+([^\n]*+(?:\n[ \t][^\n]*+)*+)" % name.encode())
    for name in ("content-id", "content-type", "content-transfer-encoding", "content-length")
}
HEAD_LIMIT = 8 * 1024
"""Bytes of a part's head."""
PARTS = 1000
"""Parts among which the root has to be."""


DOCUMENT_KINDS = {"json": "json", "xml": "xml", "yaml": "yaml"}
"""By structured syntax suffix (RFC 6839) or subtype."""
JSON_LINES = frozenset("x-ndjson ndjson jsonl x-jsonl jsonlines x-jsonlines json-seq x-json-stream stream+json".split())
"""Subtypes of several JSON texts in a row."""
SUBTYPE_KINDS = DOCUMENT_KINDS | dict.fromkeys(JSON_LINES, "json") | {
    "x-json": "json", "x-yaml": "yaml", "vnd.oai.openapi": "yaml", "html": "html", "xhtml+xml": "html",
}  # fmt: skip


class MediaType(NamedTuple):
    """A media type in lower case, like `text/xml`, and its parameters by lower-case name."""

    kind: str
    parameters: dict[str, str]

    @property
    def is_xml(self) -> bool:
        """XML of any kind (RFC 7303 §8)."""
        return self.kind in XML_KINDS or self.kind.endswith("+xml")

    @property
    def document_kind(self) -> str:
        """`json`, `xml`, `yaml`, `html`, or "" for a body that is not searched for URLs or ids."""
        main, _, subtype = self.kind.partition("/")
        suffix_kind = DOCUMENT_KINDS.get(subtype.rpartition("+")[2], "") if "+" in subtype else ""
        if main in {"application", "text"}:
            return SUBTYPE_KINDS.get(subtype, suffix_kind)
        return "" if main == "image" else suffix_kind

    @property
    def is_json_lines(self) -> bool:
        """Whether the body is several JSON texts in a row."""
        return self.kind.partition("/")[2] in JSON_LINES

    @property
    def is_multipart(self) -> bool:
        """Parts, the first or the one that `start` names is the root."""
        return self.kind.startswith("multipart/")

    @property
    def is_soap(self) -> bool:
        """It says by itself that it is SOAP 1.2, here or in what it wraps (RFC 3902, XOP §5)."""
        words = (self.kind, *(self.parameters.get(name, "").lower() for name in ("type", "start-info")))
        return any("application/soap+xml" in word for word in words)


def read_media(field: bytes | None) -> MediaType:
    """Reads a Content-Type; of none, or of none that can be read, an empty one. A parameter that is said twice in
    different words is none: readers differ in which of them they take.
    """
    text = (field or b"").decode("latin-1")
    kind = _kind(text)
    parameters: dict[str, str] = {}
    for found in PARAMETER.finditer(text):
        name, value = found[1].lower(), UNQUOTED.sub(r"\1", found[2] or "") or found[3] or ""
        parameters[name] = value if parameters.get(name, value) == value else ""
    return MediaType(kind, parameters)


def is_any_xml(field: bytes | None) -> bool:
    """Whether this Content-Type, or any of several that are joined with commas, is XML: readers differ in which of them
    they take.
    """
    text = (field or b"").decode("latin-1")
    return any(MediaType(_kind(member), {}).is_xml for member in text.split(","))


def _kind(text: str) -> str:
    """Type and subtype in lower case; a blank ends them too, where a semicolon is missing."""
    found = KIND.match(text)
    return found[1].lower() if found else ""


class MultipartRoot:
    """Looks for the root part in what it is fed. `at` is where the part's content begins; of the part's own head,
    `media`, `coding` (Content-Transfer-Encoding in lower case) and where the value of a Content-Length stands.
    """

    __slots__ = (
        "_buffer",
        "_delimiter",
        "_head",
        "_parts",
        "_seen",
        "_start",
        "at",
        "coding",
        "found",
        "length",
        "media",
    )

    def __init__(self, parameters: Mapping[str, str]) -> None:
        """`parameters` of the multipart's media type: without `start` the root is the first part."""
        boundary = parameters.get("boundary", "").encode("latin-1")
        self._delimiter = re.compile(rb"\n--%b[ \t]*+\r?\n" % re.escape(boundary))
        self._start = parameters.get("start", "").strip("<> ")
        self._buffer = bytearray(b"\n")  # every line, the first too, stands behind one
        self._seen = self._parts = 0
        self._head: int | None = None  # where the head begins that is looked at
        self.found = False
        self.at = 0
        self.media = MediaType("", {})
        self.coding = ""
        self.length: tuple[int, int] | None = None

    def feed(self, data: bytes) -> bool:
        """Takes more of the body; true once the root is found. Raises Unreadable for a head too large, or of which
        readers could make different things.
        """
        self._buffer += data
        if b"\n" not in data:  # no line has ended
            self._check_head(len(self._buffer))
            return False
        while self._step():
            if self.found:
                self._buffer.clear()
                return True
        return False

    def _step(self) -> bool:
        """Finds the next delimiter, or the end of the head behind it; false where it has not come yet."""
        if self._head is None:
            delimiter = self._delimiter.search(self._buffer, self._seen)
            if delimiter is None:
                self._seen = self._buffer.rindex(b"\n")
                return False
            self._seen, self._head = delimiter.end() - 1, delimiter.end()
            self._parts += 1
            if self._parts > PARTS:
                raise UnreadableText(f"its root part is not among the first {PARTS}")
        end = HEAD_END.search(self._buffer, self._seen)
        if end is None:
            self._check_head(len(self._buffer))
            self._seen = max(self._seen, len(self._buffer) - 2)
            return False
        self._check_head(end.start())
        self._take(self._head, end.start() + 1)
        self.at = end.end() - 1  # the buffer has a byte of its own
        self._seen, self._head = end.end() - 1, None
        return True

    def _check_head(self, end: int) -> None:
        if self._head is not None and end - self._head > HEAD_LIMIT:
            raise UnreadableText("the head of a part of it is larger than 8 KiB")

    def _take(self, begin: int, end: int) -> None:
        """Reads a part's head: whether that is the root."""
        head = bytes(self._buffer[begin:end])
        if self._start and _field(head, "content-id")[0].decode("latin-1").strip("<> ") != self._start:
            return
        self.found = True
        self.media = read_media(_field(head, "content-type")[0])
        self.coding = _field(head, "content-transfer-encoding")[0].decode("latin-1").strip().lower()
        length, at = _field(head, "content-length")
        self.length = (begin + at - 1, begin + at - 1 + len(length)) if length else None


def _field(head: bytes, name: str) -> tuple[bytes, int]:
    """A field's value, unfolded (RFC 5322 §2.2.3), and where it stands; an empty one where there is none."""
    found = [*FIELDS[name].finditer(head)]
    if len(found) > 1:
        raise UnreadableText(f"a part of it has two of {name}")
    if not found:
        return b"", 0
    return found[0][1].replace(b"\r\n", b"").replace(b"\n", b"").rstrip(), found[0].start(1)
