"""WSDL: the description of the SOAP trigger HELLO, in one document or split in two by `wsdl:import`. Pure.

Document/literal, ports for SOAP 1.1 and 1.2, the schema imported; all of them name OIC's own address [C].
"""

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
  <wsdl:message name="reply"><wsdl:part name="parameters" element="tns:helloResponse"/></wsdl:message>
  <wsdl:message name="fault"><wsdl:part name="fault" element="tns:helloFault"/></wsdl:message>
  <wsdl:portType name="Hello">
    <wsdl:operation name="hello">
      <wsdl:input message="tns:request"/><wsdl:output message="tns:reply"/>
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

# The query that asks for a document, in lower case → the document.
_DOCUMENTS = {
    "wsdl": _HEAD + _ABSTRACT + _CONCRETE,
    "wsdl=split": _HEAD + _IMPORT + _CONCRETE,
    "wsdl=abstract.wsdl": _HEAD + _ABSTRACT + _TAIL,
    "xsd=hello.xsd": _SCHEMA,
}


def document(query: str, address: str) -> str | None:
    """The document that a raw query asks for, at that address; None for any other query."""
    text = _DOCUMENTS.get(query.lower())
    return text and text.format(hello=HELLO, address=address)
