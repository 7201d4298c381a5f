"""The SOAP trigger HELLO: one operation, SOAP 1.1 and 1.2, with its WSDL in one document or split by `wsdl:import`.

The WSDL is document/literal with ports for both versions and an imported schema; all contain the address of OIC [C].
The name `FAULT` causes a fault of the flow (500) with the instance id in its detail.
"""

from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from gateway.sandbox.flows import FlowCall
from gateway.sandbox.http_messages import SandboxResponse, TooLarge

HELLO = "http://sandbox.example/hello"

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions name="HELLO" targetNamespace="{hello}" xmlns:tns="{hello}"
    xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/" xmlns:xsd="http://www.w3.org/2001/XMLSchema">
"""

_ABSTRACT = """\
  <wsdl:types>
    <xsd:schema><xsd:import namespace="{hello}" schemaLocation="{address}?xsd=hello.xsd"/></xsd:schema>
  </wsdl:types>
  <wsdl:message name="request"><wsdl:part name="parameters" element="tns:hello"/></wsdl:message>
  <wsdl:message name="response"><wsdl:part name="parameters" element="tns:helloResponse"/></wsdl:message>
  <wsdl:message name="fault"><wsdl:part name="fault" element="tns:helloFault"/></wsdl:message>
  <wsdl:portType name="Hello">
    <wsdl:operation name="hello">
      <wsdl:input message="tns:request"/><wsdl:output message="tns:response"/>
      <wsdl:fault name="fault" message="tns:fault"/>
    </wsdl:operation>
  </wsdl:portType>
"""

_IMPORT = """\
  <wsdl:import namespace="{hello}" location="{address}?wsdl=abstract.wsdl"/>
"""

_BINDING = """\
  <wsdl:binding name="HelloBinding{version}" type="tns:Hello">
    <{soap}:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="hello">
      <{soap}:operation soapAction="hello"/>
      <wsdl:input><{soap}:body use="literal"/></wsdl:input><wsdl:output><{soap}:body use="literal"/></wsdl:output>
      <wsdl:fault name="fault"><{soap}:fault name="fault" use="literal"/></wsdl:fault>
    </wsdl:operation>
  </wsdl:binding>
"""

_SERVICE = """\
  <wsdl:service name="HelloService">
    <wsdl:port name="HelloPort" binding="tns:HelloBinding"><soap:address location="{address}"/></wsdl:port>
    <wsdl:port name="HelloPort12" binding="tns:HelloBinding12"><soap12:address location="{address}"/></wsdl:port>
  </wsdl:service>
"""

_TAIL = "</wsdl:definitions>\n"

_SCHEMA = """<?xml version="1.0" encoding="UTF-8"?>
<xsd:schema targetNamespace="{hello}" elementFormDefault="qualified" xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <xsd:element name="hello"><xsd:complexType><xsd:sequence>
    <xsd:element name="name" type="xsd:string"/>
  </xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="helloResponse"><xsd:complexType><xsd:sequence>
    <xsd:element name="greeting" type="xsd:string"/>
    <xsd:element name="oicInstanceId" type="xsd:string" minOccurs="0"/>
  </xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="helloFault"><xsd:complexType><xsd:sequence>
    <xsd:element name="reason" type="xsd:string"/>
    <xsd:element name="oicInstanceId" type="xsd:string" minOccurs="0"/>
  </xsd:sequence></xsd:complexType></xsd:element>
</xsd:schema>
"""

_CONCRETE = _BINDING.replace("{soap}", "soap").replace("{version}", "") + (
    _BINDING.replace("{soap}", "soap12").replace("{version}", "12") + _SERVICE + _TAIL
)

# Documents by their query, in lower case.
_DOCUMENTS = {
    "wsdl": _HEAD + _ABSTRACT + _CONCRETE,
    "wsdl=split": _HEAD + _IMPORT + _CONCRETE,
    "wsdl=abstract.wsdl": _HEAD + _ABSTRACT + _TAIL,
    "xsd=hello.xsd": _SCHEMA,
}


def wsdl_document(query: str, address: str) -> str | None:
    """Return the document that a raw query requests, with that address; None for any other query."""
    text = _DOCUMENTS.get(query.lower())
    return text and text.format(hello=HELLO, address=address)


_BODY_START_LIMIT = 1 << 16
_ENVELOPES = {
    "text/xml": "http://schemas.xmlsoap.org/soap/envelope/",
    "application/soap+xml": "http://www.w3.org/2003/05/soap-envelope",
}


async def answer_soap(flow_call: FlowCall) -> SandboxResponse:
    """Return WSDL and schema on GET, run the operation on POST; a fault for anything else.

    The journal entry contains the first 64 KiB of a request, so that a test sees what the gateway forwarded.
    """
    flow_call.call.body_start_limit = _BODY_START_LIMIT
    if flow_call.request.method == "GET":
        return _document(flow_call)
    media_type = flow_call.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if flow_call.request.method != "POST":
        return SandboxResponse(405, [("Allow", "GET, POST")])
    if media_type not in _ENVELOPES:
        return SandboxResponse(415)
    try:
        name = _read_name(await flow_call.request.read(), _ENVELOPES[media_type])
    except (expat.ExpatError, TooLarge, _NotHello) as cause:
        return _fault(media_type, f"The request cannot be read: {cause}")
    body_id = flow_call.body_instance_id
    instance_id = f"<h:oicInstanceId>{body_id}</h:oicInstanceId>" if body_id else ""
    if name == "FAULT":
        reason = "The flow ended in a fault."
        detail = f'<h:helloFault xmlns:h="{HELLO}"><h:reason>{reason}</h:reason>{instance_id}</h:helloFault>'
        return _fault(media_type, reason, detail)
    greeting = f"<h:greeting>Hello, {escape(name)}</h:greeting>"
    return _envelope(200, media_type, f'<h:helloResponse xmlns:h="{HELLO}">{greeting}{instance_id}</h:helloResponse>')


def _document(flow_call: FlowCall) -> SandboxResponse:
    text = wsdl_document(flow_call.request.target.partition("?")[2], f"{flow_call.base}/")
    if text is None:
        return SandboxResponse(405, [("Allow", "POST")])
    return SandboxResponse(200, [("Content-Type", "text/xml; charset=UTF-8")], text.encode(), has_validators=True)


class _NotHello(Exception):
    """The document is XML, but not a request of the operation."""


@dataclass(slots=True)
class _NameReader:
    """Reads the text of one element: `path` are the open elements, `wanted` the path of the element."""

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
        # Entities can make a small document large. SOAP 1.2 part 1 section 5 forbids the declaration.
        raise _NotHello("a document type declaration is not allowed")


def _read_name(document: bytes, namespace: str) -> str:
    steps = [f"{namespace} Envelope", f"{namespace} Body", f"{HELLO} hello", f"{HELLO} name"]
    reading = _NameReader(wanted=steps)
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
    """Return a fault of the caller or, with a detail, of the flow."""
    text = escape(reason)
    if media_type == "text/xml":
        whose = "Server" if detail else "Client"
        detail_element = f"<detail>{detail}</detail>" if detail else ""
        body = f"<e:Fault><faultcode>e:{whose}</faultcode><faultstring>{text}</faultstring>{detail_element}</e:Fault>"
        return _envelope(500, media_type, body)  # SOAP 1.1 section 6.2
    whose, status = ("Receiver", 500) if detail else ("Sender", 400)  # SOAP 1.2 part 2 section 7.5.2.2
    code = f"<e:Code><e:Value>e:{whose}</e:Value></e:Code>"
    detail_element = f"<e:Detail>{detail}</e:Detail>" if detail else ""
    body = f'<e:Fault>{code}<e:Reason><e:Text xml:lang="en">{text}</e:Text></e:Reason>{detail_element}</e:Fault>'
    return _envelope(status, media_type, body)


def _envelope(status: int, media_type: str, body: str) -> SandboxResponse:
    namespace = _ENVELOPES[media_type]
    envelope = f'<e:Envelope xmlns:e="{namespace}"><e:Body>{body}</e:Body></e:Envelope>'
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{envelope}'
    return SandboxResponse(status, [("Content-Type", f"{media_type}; charset=UTF-8")], text.encode())
