"""Read media types (RFC 9110 §8.3), and find the root part of a multipart body (RFC 2387), which contains the envelope
in SOAP with attachments and MTOM.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gateway.content.charsets import UnreadableText

PARAMETER = re.compile(r";\s*([^\s=;,\"]++)\s*=\s*(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;,\"]*+))")
UNQUOTED = re.compile(r"\\(.)")
TYPE_AND_SUBTYPE = re.compile(r"\s*([^\s;,]*)")
XML_KINDS = frozenset(
    f"{main}/{sub}" for main in ("text", "application") for sub in ("xml", "x-xml", "xml-external-parsed-entity")
)
HEAD_END = re.compile(rb"\n\r?\n")
PART_FIELDS = {
    name: re.compile(rb"(?im)^%b[ \t]*:[ \t]*+([^\n]*+(?:\n[ \t][^\n]*+)*+)" % name.encode())
    for name in ("content-id", "content-type", "content-transfer-encoding", "content-length")
}
MAX_PART_HEAD = 8 * 1024
"""Maximum bytes of the head of a part."""
MAX_PARTS = 1000
"""Maximum number of parts in which the root part is searched."""

DOCUMENT_KINDS = {"json": "json", "xml": "xml", "yaml": "yaml"}
"""The kind of document, by structured syntax suffix (RFC 6839) or subtype."""
JSON_LINES = frozenset("x-ndjson ndjson jsonl x-jsonl jsonlines x-jsonlines json-seq x-json-stream stream+json".split())
"""Subtypes of bodies that contain several JSON texts in a row."""
SUBTYPE_KINDS = DOCUMENT_KINDS | dict.fromkeys(JSON_LINES, "json") | {
    "x-json": "json", "x-yaml": "yaml", "vnd.oai.openapi": "yaml", "html": "html", "xhtml+xml": "html",
}  # fmt: skip


class MediaType(NamedTuple):
    """A media type: its essence (type and subtype in lower case, such as `text/xml`), and its parameters by lower-case
    name.
    """

    essence: str
    parameters: dict[str, str]

    @property
    def is_xml(self) -> bool:
        """Whether it is XML of any kind (RFC 7303 §8)."""
        return self.essence in XML_KINDS or self.essence.endswith("+xml")

    @property
    def document_kind(self) -> str:
        """`json`, `xml`, `yaml` or `html`; "" for a body that is not searched for URLs or ids."""
        main, _, subtype = self.essence.partition("/")
        suffix_kind = DOCUMENT_KINDS.get(subtype.rpartition("+")[2], "") if "+" in subtype else ""
        if main in {"application", "text"}:
            return SUBTYPE_KINDS.get(subtype, suffix_kind)
        return "" if main == "image" else suffix_kind

    @property
    def is_json_lines(self) -> bool:
        """Whether the body is several JSON texts in a row."""
        return self.essence.partition("/")[2] in JSON_LINES

    @property
    def is_multipart(self) -> bool:
        """Whether the body has parts. The root part is the first one, or the one in the parameter `start`."""
        return self.essence.startswith("multipart/")

    @property
    def is_soap(self) -> bool:
        """Whether it declares SOAP 1.2, for the body itself or for its root part (RFC 3902, XOP §5)."""
        words = (self.essence, *(self.parameters.get(name, "").lower() for name in ("type", "start-info")))
        return any("application/soap+xml" in word for word in words)


def read_media_type(field: bytes | None) -> MediaType:
    """Read a Content-Type. The result is empty if it is missing or unreadable. A parameter with two different values is
    empty too, because readers do not agree on which value applies.
    """
    text = (field or b"").decode("latin-1")
    essence = _read_essence(text)
    parameters: dict[str, str] = {}
    for match in PARAMETER.finditer(text):
        name, value = match[1].lower(), UNQUOTED.sub(r"\1", match[2] or "") or match[3] or ""
        parameters[name] = value if parameters.get(name, value) == value else ""
    return MediaType(essence, parameters)


def is_any_xml(field: bytes | None) -> bool:
    """Return whether a Content-Type is XML, or one of several that are joined with commas: readers do not agree on
    which of them applies.
    """
    text = (field or b"").decode("latin-1")
    return any(MediaType(_read_essence(member), {}).is_xml for member in text.split(","))


def _read_essence(text: str) -> str:
    """Return type and subtype in lower case. White space ends them too, if the semicolon is missing."""
    match = TYPE_AND_SUBTYPE.match(text)
    return match[1].lower() if match else ""


class MultipartRoot:
    """Searches a multipart body for its root part.

    Once it is `found`, `start` is the offset of its content. The others are from its head: `media`, `coding`
    (Content-Transfer-Encoding in lower case) and `length` (the offsets of the value of Content-Length).
    """

    __slots__ = (
        "_buffer",
        "_delimiter",
        "_head",
        "_parts",
        "_position",
        "_root_id",
        "coding",
        "found",
        "length",
        "media",
        "start",
    )

    def __init__(self, parameters: Mapping[str, str]) -> None:
        """`parameters` are those of the multipart media type. Without `start`, the root is the first part."""
        boundary = parameters.get("boundary", "").encode("latin-1")
        self._delimiter = re.compile(rb"\n--%b[ \t]*+\r?\n" % re.escape(boundary))
        self._root_id = parameters.get("start", "").strip("<> ")
        self._buffer = bytearray(b"\n")  # so that a line feed precedes every line, also the first
        self._position = self._parts = 0
        self._head: int | None = None  # offset of the head of the current part
        self.found = False
        self.start = 0
        self.media = MediaType("", {})
        self.coding = ""
        self.length: tuple[int, int] | None = None

    def feed(self, data: bytes) -> bool:
        """Search more bytes of the body. Return whether the root part is found.

        Raise UnreadableText if the head of a part is too large or ambiguous.
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
        """Find the next delimiter, or the end of the head after it. Return False if it has not arrived yet."""
        if self._head is None:
            delimiter = self._delimiter.search(self._buffer, self._position)
            if delimiter is None:
                self._position = self._buffer.rindex(b"\n")
                return False
            self._position, self._head = delimiter.end() - 1, delimiter.end()
            self._parts += 1
            if self._parts > MAX_PARTS:
                raise UnreadableText(f"its root part is not among the first {MAX_PARTS}")
        end = HEAD_END.search(self._buffer, self._position)
        if end is None:
            self._check_head(len(self._buffer))
            self._position = max(self._position, len(self._buffer) - 2)
            return False
        self._check_head(end.start())
        self._read_head(self._head, end.start() + 1)
        self.start = end.end() - 1  # the buffer has one more byte than the body
        self._position, self._head = end.end() - 1, None
        return True

    def _check_head(self, end: int) -> None:
        if self._head is not None and end - self._head > MAX_PART_HEAD:
            raise UnreadableText("the head of a part of it is larger than 8 KiB")

    def _read_head(self, begin: int, end: int) -> None:
        """Read the head of a part, and note whether it is the root part."""
        head = bytes(self._buffer[begin:end])
        if self._root_id and _part_field(head, "content-id")[0].decode("latin-1").strip("<> ") != self._root_id:
            return
        self.found = True
        self.media = read_media_type(_part_field(head, "content-type")[0])
        self.coding = _part_field(head, "content-transfer-encoding")[0].decode("latin-1").strip().lower()
        length, at = _part_field(head, "content-length")
        self.length = (begin + at - 1, begin + at - 1 + len(length)) if length else None


def _part_field(head: bytes, name: str) -> tuple[bytes, int]:
    """Return the unfolded value of a field (RFC 5322 §2.2.3) and its offset; b"" if it is missing."""
    matches = [*PART_FIELDS[name].finditer(head)]
    if len(matches) > 1:
        raise UnreadableText(f"a part of it has two of {name}")
    if not matches:
        return b"", 0
    return matches[0][1].replace(b"\r\n", b"").replace(b"\n", b"").rstrip(), matches[0].start(1)
