"""The SOAP trigger HELLO: one operation, SOAP 1.1 and 1.2, described by its WSDL.

The name `FAULT` gets a fault of the flow (500) with the instance id in its detail.
"""

from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from gateway.sandbox.flows import Visit
from gateway.sandbox.request import TooLarge
from gateway.sandbox.responses import SandboxResponse
from gateway.sandbox.wsdl import HELLO, document

_KEPT = 1 << 16
_ENVELOPES = {
    "text/xml": "http://schemas.xmlsoap.org/soap/envelope/",
    "application/soap+xml": "http://www.w3.org/2003/05/soap-envelope",
}


async def answer_soap(visit: Visit) -> SandboxResponse:
    """WSDL and schema on GET, the operation on POST; a fault for what is not understood.

    The first 64 KiB of a request stay in its journal entry, so that it can be seen what a gateway let through.
    """
    visit.call.keeps = _KEPT
    if visit.arrival.method == "GET":
        return _document(visit)
    media_type = visit.arrival.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if visit.arrival.method != "POST":
        return SandboxResponse(405, [("Allow", "GET, POST")])
    if media_type not in _ENVELOPES:
        return SandboxResponse(415)
    try:
        name = _read_name(await visit.arrival.read(), _ENVELOPES[media_type])
    except (expat.ExpatError, TooLarge, _NotHello) as cause:
        return _fault(media_type, f"The request is not understood: {cause}")
    instance_id = f"<h:oicInstanceId>{visit.told_id}</h:oicInstanceId>" if visit.told_id else ""
    if name == "FAULT":
        reason = "The flow ended in a fault."
        detail = f'<h:helloFault xmlns:h="{HELLO}"><h:reason>{reason}</h:reason>{instance_id}</h:helloFault>'
        return _fault(media_type, reason, detail)
    greeting = f"<h:greeting>Hello, {escape(name)}</h:greeting>"
    return _envelope(200, media_type, f'<h:helloResponse xmlns:h="{HELLO}">{greeting}{instance_id}</h:helloResponse>')


def _document(visit: Visit) -> SandboxResponse:
    text = document(visit.arrival.target.partition("?")[2], f"{visit.base}/")
    if text is None:
        return SandboxResponse(405, [("Allow", "POST")])
    return SandboxResponse(200, [("Content-Type", "text/xml; charset=UTF-8")], text.encode(), has_validators=True)


class _NotHello(Exception):
    """The document is XML, but not a call of the operation."""


@dataclass(slots=True)
class _SoapReading:
    """The way through the document: open elements, and the text of the one that is wanted."""

    wanted: list[str]
    path: list[str] = field(default_factory=list)
    name: str | None = None

    def open(self, tag: str, _attributes: object) -> None:
        self.path.append(tag)
        if self.path == self.wanted:
            self.name = ""

    def close(self, _tag: str) -> None:
        self.path.pop()

    def text(self, data: str) -> None:
        if self.path == self.wanted and self.name is not None:
            self.name += data

    def doctype(self, *_declaration: object) -> None:
        # Entities are how small documents become large ones; SOAP 1.2 part 1 section 5 forbids the declaration anyway.
        raise _NotHello("a document type declaration is not allowed")


def _read_name(document: bytes, namespace: str) -> str:
    steps = [f"{namespace} Envelope", f"{namespace} Body", f"{HELLO} hello", f"{HELLO} name"]
    reading = _SoapReading(wanted=steps)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reading.open
    parser.EndElementHandler = reading.close
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = reading.doctype
    parser.Parse(document, True)  # noqa: FBT003  # expat takes no keyword
    if reading.name is None:
        raise _NotHello("there is no hello with a name in an envelope of that version")
    return reading.name


def _fault(media_type: str, reason: str, detail: str = "") -> SandboxResponse:
    """A fault of the caller's making, or, with a detail, of the flow's."""
    text = escape(reason)
    if media_type == "text/xml":
        whose = "Server" if detail else "Client"
        told = f"<detail>{detail}</detail>" if detail else ""
        body = f"<e:Fault><faultcode>e:{whose}</faultcode><faultstring>{text}</faultstring>{told}</e:Fault>"
        return _envelope(500, media_type, body)  # SOAP 1.1 section 6.2
    whose, status = ("Receiver", 500) if detail else ("Sender", 400)  # SOAP 1.2 part 2 section 7.5.2.2
    code = f"<e:Code><e:Value>e:{whose}</e:Value></e:Code>"
    told = f"<e:Detail>{detail}</e:Detail>" if detail else ""
    body = f'<e:Fault>{code}<e:Reason><e:Text xml:lang="en">{text}</e:Text></e:Reason>{told}</e:Fault>'
    return _envelope(status, media_type, body)


def _envelope(status: int, media_type: str, body: str) -> SandboxResponse:
    namespace = _ENVELOPES[media_type]
    envelope = f'<e:Envelope xmlns:e="{namespace}"><e:Body>{body}</e:Body></e:Envelope>'
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{envelope}'
    return SandboxResponse(status, [("Content-Type", f"{media_type}; charset=UTF-8")], text.encode())
