"""The SOAP trigger HELLO: one operation, SOAP 1.1 and 1.2, with its WSDL."""

from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from gateway.sandbox.arrivals import TooLarge
from gateway.sandbox.flows import Visit
from gateway.sandbox.replies import Reply

_HELLO = "http://sandbox.example/hello"
_ENVELOPES = {
    "text/xml": "http://schemas.xmlsoap.org/soap/envelope/",
    "application/soap+xml": "http://www.w3.org/2003/05/soap-envelope",
}

_WSDL = """<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions name="HELLO" targetNamespace="{hello}" xmlns:tns="{hello}"
    xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <wsdl:types>
    <xsd:schema><xsd:import namespace="{hello}" schemaLocation="{address}?xsd=hello.xsd"/></xsd:schema>
  </wsdl:types>
  <wsdl:message name="request"><wsdl:part name="parameters" element="tns:hello"/></wsdl:message>
  <wsdl:message name="reply"><wsdl:part name="parameters" element="tns:helloResponse"/></wsdl:message>
  <wsdl:portType name="Hello">
    <wsdl:operation name="hello">
      <wsdl:input message="tns:request"/><wsdl:output message="tns:reply"/>
    </wsdl:operation>
  </wsdl:portType>
  <wsdl:binding name="HelloBinding" type="tns:Hello">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="hello">
      <soap:operation soapAction="hello"/>
      <wsdl:input><soap:body use="literal"/></wsdl:input><wsdl:output><soap:body use="literal"/></wsdl:output>
    </wsdl:operation>
  </wsdl:binding>
  <wsdl:service name="HelloService">
    <wsdl:port name="HelloPort" binding="tns:HelloBinding"><soap:address location="{address}"/></wsdl:port>
  </wsdl:service>
</wsdl:definitions>
"""

_SCHEMA = """<?xml version="1.0" encoding="UTF-8"?>
<xsd:schema targetNamespace="{hello}" elementFormDefault="qualified" xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <xsd:element name="hello"><xsd:complexType><xsd:sequence>
    <xsd:element name="name" type="xsd:string"/>
  </xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="helloResponse"><xsd:complexType><xsd:sequence>
    <xsd:element name="greeting" type="xsd:string"/><xsd:element name="oicInstanceId" type="xsd:string"/>
  </xsd:sequence></xsd:complexType></xsd:element>
</xsd:schema>
"""


async def answer_soap(visit: Visit) -> Reply:
    """`?wsdl`/`?WSDL` and its schema on GET, the operation on POST; a fault for what is not understood."""
    if visit.arrival.method == "GET":
        return _document(visit)
    media_type = visit.arrival.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if visit.arrival.method != "POST":
        return Reply(405, [("Allow", "GET, POST")])
    if media_type not in _ENVELOPES:
        return Reply(415)
    try:
        name = _read_name(await visit.arrival.read(), _ENVELOPES[media_type])
    except (expat.ExpatError, TooLarge, _NotHello) as cause:
        return _fault(media_type, f"The request is not understood: {cause}")
    greeting = f"<h:greeting>Hello, {escape(name)}</h:greeting>"
    instance = f"<h:oicInstanceId>{visit.run.instance_id}</h:oicInstanceId>"
    return _envelope(200, media_type, f'<h:helloResponse xmlns:h="{_HELLO}">{greeting}{instance}</h:helloResponse>')


def _document(visit: Visit) -> Reply:
    query = visit.arrival.target.partition("?")[2].lower()
    texts = {"wsdl": _WSDL, "xsd=hello.xsd": _SCHEMA}
    if query not in texts:
        return Reply(405, [("Allow", "POST")])
    text = texts[query].format(hello=_HELLO, address=f"{visit.base}/")
    return Reply(200, [("Content-Type", "text/xml; charset=UTF-8")], text.encode())


class _NotHello(Exception):
    """The document is XML, but not a call of the operation."""


@dataclass(slots=True)
class _Reading:
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
    steps = [f"{namespace} Envelope", f"{namespace} Body", f"{_HELLO} hello", f"{_HELLO} name"]
    reading = _Reading(wanted=steps)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reading.open
    parser.EndElementHandler = reading.close
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = reading.doctype
    parser.Parse(document, True)  # noqa: FBT003  # expat takes no keyword
    if reading.name is None:
        raise _NotHello("there is no hello with a name in an envelope of that version")
    return reading.name


def _fault(media_type: str, reason: str) -> Reply:
    text = escape(reason)
    if media_type == "text/xml":
        body = f"<e:Fault><faultcode>e:Client</faultcode><faultstring>{text}</faultstring></e:Fault>"
        return _envelope(500, media_type, body)  # SOAP 1.1 section 6.2
    code = "<e:Code><e:Value>e:Sender</e:Value></e:Code>"
    body = f'<e:Fault>{code}<e:Reason><e:Text xml:lang="en">{text}</e:Text></e:Reason></e:Fault>'
    return _envelope(400, media_type, body)  # SOAP 1.2 part 2 section 7.5.2.2


def _envelope(status: int, media_type: str, body: str) -> Reply:
    namespace = _ENVELOPES[media_type]
    envelope = f'<e:Envelope xmlns:e="{namespace}"><e:Body>{body}</e:Body></e:Envelope>'
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{envelope}'
    return Reply(status, [("Content-Type", f"{media_type}; charset=UTF-8")], text.encode())
