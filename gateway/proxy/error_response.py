"""Pure: the response of a gateway error: an RFC 9457 problem document, or a Fault for a SOAP caller.

Its texts are those of the error class; the text of a cause is never part of it.
"""

import json
import math
from collections.abc import Mapping
from html import escape

from gateway.content.media_type import read_media_type
from gateway.errors import GatewayError
from gateway.http.request_head import RequestHead

SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"

FAULT_11 = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soap:Envelope xmlns:soap="{space}"><soap:Body><soap:Fault><faultcode>soap:{side}</faultcode>'
    "<faultstring>{detail}</faultstring><detail>{facts}</detail></soap:Fault></soap:Body></soap:Envelope>"
)
FAULT_12 = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soap:Envelope xmlns:soap="{space}"><soap:Body><soap:Fault><soap:Code><soap:Value>soap:{side}</soap:Value>'
    '</soap:Code><soap:Reason><soap:Text xml:lang="en">{detail}</soap:Text></soap:Reason>'
    "<soap:Detail>{facts}</soap:Detail></soap:Fault></soap:Body></soap:Envelope>"
)
FACTS = (
    '<problem xmlns="urn:oic-gateway:error"><code>{code}</code><status>{status}</status>'
    "<requestId>{request_id}</requestId></problem>"
)
SOAP_11_WRAPPERS = frozenset({"", "multipart/related", "multipart/mixed"})
SOAP_FIELDS = frozenset({b"soapaction", b"content-type"})
REASONS = {
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    508: "Loop Detected",
}


def request_soap_namespace(fields: Mapping[bytes, bytes], namespace: str = "") -> str:
    """Return the SOAP namespace of a request, or "": `namespace` if its envelope is known, SOAP 1.2 by its media type
    (with attachments: that of the first part), 1.1 by SOAPAction. `fields` by lower-case name. SOAPAction beside
    another media type is ignored: some clients send it with their REST calls too.
    """
    if namespace in {SOAP_11, SOAP_12}:
        return namespace
    media = read_media_type(fields.get(b"content-type"))
    if media.is_soap:
        return SOAP_12
    is_possible = media.is_xml or media.essence in SOAP_11_WRAPPERS
    return SOAP_11 if b"soapaction" in fields and is_possible else ""


def expected_soap_namespace(head: RequestHead) -> str:
    """Return the SOAP namespace to expect at a SOAP trigger before the envelope is read: that of 1.1 for `text/xml`."""
    media = head.known_fields.get(b"content-type", b"")
    return SOAP_11 if media.lower().startswith(b"text/xml") else ""


def soap_namespace_of_broken_head(head: bytes) -> str:
    """Return the SOAP namespace of a request by the beginning of its unreadable head, or ""."""
    fields: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        name, colon, value = line.partition(b":")
        name = name.strip().lower()
        if colon and name in SOAP_FIELDS:
            fields.setdefault(name, value.strip())
    return request_soap_namespace(fields)


def error_status(error: GatewayError, soap: str = "") -> int:
    """Return the status of an error's response. A Fault has 500 (SOAP 1.1 §6.2), in SOAP 1.2 400 if the caller is to
    blame (SOAP 1.2 Part 2 §7.5.2.2): SOAP clients ignore Faults of any other status. A 401 with a challenge stays one:
    many clients send their password only after it.
    """
    if not soap or (error.status == 401 and error.fields):
        return error.status
    return 400 if soap == SOAP_12 and error.blame == "caller" else 500


def build_error_response(error: GatewayError, *, request_id: str, soap: str = "") -> tuple[list[bytes], bytes]:
    """Return the field lines (without framing) and the body of an error's response. A 503 always has Retry-After. If a
    Fault has another status than the error, X-Gateway-Error has the error's as a parameter (RFC 9651 §3.1.2).
    """
    if soap:
        media, body = _soap_fault(error, request_id, soap)
    else:
        media, body = "application/problem+json", _problem_document(error, request_id)
    code = error.code if error_status(error, soap) == error.status else f"{error.code}; status={error.status}"
    lines = [f"Content-Type: {media}", "Cache-Control: no-store", f"X-Gateway-Error: {code}"]
    if error.allow:
        lines.append(f"Allow: {', '.join(error.allow)}")
    lines += error.fields
    wait = 1.0 if error.retry_after is None and error.status == 503 else error.retry_after
    if wait is not None:
        lines.append(f"Retry-After: {max(1, math.ceil(wait))}")
    return [line.encode() for line in lines], body


def _problem_document(error: GatewayError, request_id: str) -> bytes:
    document = {
        "type": f"urn:oic-gateway:error:{error.code}",
        "title": error.meaning,
        "status": error.status,
        "detail": error.detail,
        "remedy": error.remedy,
        "code": error.code,
        "blame": error.blame,
        "request_id": request_id,
    }
    return json.dumps(document).encode()


def _soap_fault(error: GatewayError, request_id: str, space: str) -> tuple[str, bytes]:
    facts = FACTS.format(code=error.code, status=error.status, request_id=escape(request_id))
    is_sender = error.blame == "caller"
    if space == SOAP_12:
        side, media, fault = "Sender" if is_sender else "Receiver", "application/soap+xml", FAULT_12
    else:
        side, media, fault = "Client" if is_sender else "Server", "text/xml", FAULT_11
    body = fault.format(space=space, side=side, detail=escape(error.detail), facts=facts)
    return f"{media}; charset=utf-8", body.encode()
