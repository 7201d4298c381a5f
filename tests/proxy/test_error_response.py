"""Errors of ours on the wire: problem documents, SOAP Faults, and never the text of a cause."""

import json
from xml.etree import ElementTree as ET

import pytest

from gateway.errors import (
    ERRORS,
    BadRequest,
    CallerGone,
    Draining,
    GatewayError,
    MethodNotAllowed,
    NoRoute,
    TokenUnavailable,
)
from gateway.http.fields import sort_fields
from gateway.proxy.error_response import (
    REASONS,
    SOAP_11,
    SOAP_12,
    build_error_response,
    error_status,
    request_soap_namespace,
    soap_namespace_of_broken_head,
)
from gateway.proxy.headers import REQUEST_RULES

CONTRACT = {
    "bad-request": (400, "caller"),
    "forbidden": (403, "caller"),
    "no-route": (404, "caller"),
    "method-not-allowed": (405, "caller"),
    "body-too-large": (413, "caller"),
    "headers-too-large": (431, "caller"),
    "uri-too-long": (414, "caller"),
    "caller-gone": (499, "caller"),
    "token-refused": (502, "identity"),
    "token-unavailable": (503, "identity"),
    "upstream-unreachable": (502, "upstream"),
    "upstream-timeout": (504, "upstream"),
    "upstream-broken": (502, "upstream"),
    "overloaded": (503, "gateway"),
    "draining": (503, "gateway"),
}
ANSWERED = [error for error in ERRORS if error is not CallerGone]
CAUSE = "s3cr3t cause"


def response_of(error: GatewayError, *, soap: str = "") -> tuple[dict[str, str], bytes]:
    lines, body = build_error_response(error, request_id="id-1", soap=soap)
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    fields = dict(line.decode().split(": ", 1) for line in lines)
    assert len(fields) == len(lines)
    return fields, body


def test_the_errors_are_those_of_the_contract() -> None:
    facts = {error.code: (error.status, error.blame) for error in ERRORS}
    assert {code: facts[code] for code in CONTRACT} == CONTRACT


def test_every_status_that_is_answered_has_a_reason() -> None:
    assert {error.status for error in ANSWERED} | {204} == set(REASONS)


@pytest.mark.parametrize("error", ANSWERED, ids=lambda error: error.code)
def test_a_problem_document_has_error_and_remedy(error: type[GatewayError]) -> None:
    fields, body = response_of(error("It is so.", reason=CAUSE))
    assert fields["Content-Type"] == "application/problem+json"
    assert fields["Cache-Control"] == "no-store"
    assert fields["X-Gateway-Error"] == error.code
    assert json.loads(body) == {
        "type": f"urn:oic-gateway:error:{error.code}",
        "title": error.meaning,
        "status": error.status,
        "detail": "It is so.",
        "remedy": error.remedy,
        "code": error.code,
        "blame": error.blame,
        "request_id": "id-1",
    }


@pytest.mark.parametrize("error", ANSWERED, ids=lambda error: error.code)
@pytest.mark.parametrize(
    ("soap", "media", "sides"),
    [
        (SOAP_11, "text/xml; charset=utf-8", ("Client", "Server")),
        (SOAP_12, "application/soap+xml; charset=utf-8", ("Sender", "Receiver")),
    ],
)
def test_a_soap_caller_gets_a_fault_of_its_version(
    error: type[GatewayError], soap: str, media: str, sides: tuple[str, str]
) -> None:
    fields, body = response_of(error('5 < 6 & "so"', reason=CAUSE), soap=soap)
    assert fields["Content-Type"] == media
    sent = error_status(error(), soap)
    assert sent == (400 if (soap, error.blame) == (SOAP_12, "caller") else 500)
    code, _, status = fields["X-Gateway-Error"].partition("; ")
    assert code == error.code
    assert status == ("" if sent == error.status else f"status={error.status}")
    fault = ET.fromstring(body).find(f"{{{soap}}}Body/{{{soap}}}Fault")
    assert fault is not None
    space = {"s": soap, "g": "urn:oic-gateway:error"}
    paths = ("faultcode", "faultstring") if soap == SOAP_11 else ("s:Code/s:Value", "s:Reason/s:Text")
    side, text = (fault.findtext(path, namespaces=space) for path in paths)
    assert side == f"soap:{sides[0] if error.blame == 'caller' else sides[1]}"
    assert text == '5 < 6 & "so"'
    assert fault.findtext(".//g:code", namespaces=space) == error.code
    assert fault.findtext(".//g:status", namespaces=space) == str(error.status)
    assert fault.findtext(".//g:requestId", namespaces=space) == "id-1"


@pytest.mark.parametrize("error", ANSWERED, ids=lambda error: error.code)
def test_a_problem_document_has_the_status_of_its_error(error: type[GatewayError]) -> None:
    assert error_status(error()) == error.status


@pytest.mark.parametrize("soap", [SOAP_11, SOAP_12])
def test_a_fault_keeps_retry_after(soap: str) -> None:
    assert response_of(Draining(retry_after=3), soap=soap)[0]["Retry-After"] == "3"
    assert response_of(Draining(), soap=soap)[0]["Retry-After"] == "1"


@pytest.mark.parametrize("soap", ["", SOAP_11, SOAP_12])
def test_the_text_of_a_cause_is_never_sent(soap: str) -> None:
    error = BadRequest(reason=CAUSE)
    error.__cause__ = ValueError(CAUSE)
    fields, body = response_of(error, soap=soap)
    assert CAUSE not in str(fields)
    assert CAUSE.encode() not in body


def test_a_caller_s_request_id_cannot_write_xml() -> None:
    _, body = build_error_response(NoRoute(), request_id="</requestId><evil/>", soap=SOAP_11)
    assert b"<evil" not in body
    ET.fromstring(body)


def test_a_refused_method_names_those_allowed() -> None:
    assert response_of(MethodNotAllowed(allow=("GET", "HEAD")))[0]["Allow"] == "GET, HEAD"
    assert "Allow" not in response_of(NoRoute())[0]


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (Draining(retry_after=1), "1"),
        (Draining(retry_after=0), "1"),
        (Draining(retry_after=1.2), "2"),
        (Draining(retry_after=3), "3"),
        (TokenUnavailable(retry_after=59.01), "60"),
        (TokenUnavailable(), "1"),
        (NoRoute(), None),
    ],
)
def test_retry_after_is_whole_seconds_and_never_too_few(error: GatewayError, wait: str | None) -> None:
    assert response_of(error)[0].get("Retry-After") == wait


@pytest.mark.parametrize(
    ("lines", "soap"),
    [
        ([], ""),
        (["Content-Type: application/json"], ""),
        (["Content-Type: text/xml"], ""),
        (["Content-Type: text/xml; charset=utf-8", 'SOAPAction: ""'], SOAP_11),
        (["soapaction: run"], SOAP_11),
        (["SOAPAction:"], SOAP_11),
        (['Content-Type: multipart/related; type="text/xml"', 'SOAPAction: ""'], SOAP_11),
        (["Content-Type: Application/SOAP+XML; action=run"], SOAP_12),
        (["Content-Type: application/xml", "SOAPAction: run"], SOAP_11),
        (["Content-Type: multipart/mixed; boundary=x", "SOAPAction: run"], SOAP_11),
        (["Content-Type: application/json", "SOAPAction: run"], ""),
        (["Content-Type: text/csv; charset=utf-8", "SOAPAction: run"], ""),
        (["Content-Type: application/x-www-form-urlencoded", "SOAPAction: run"], ""),
        (["Content-Type: multipart/form-data; boundary=soap+xml", "SOAPAction: run"], ""),
        (["Content-Type: application/vnd.openxmlformats-officedocument.wordprocessingml.document"], ""),
        (["CONTENT-TYPE: application/soap+xml", 'SOAPAction: ""'], SOAP_12),
        (
            ['Content-Type: multipart/related; type="application/xop+xml"; start-info="application/soap+xml"'],
            SOAP_12,
        ),
    ],
)
def test_a_soap_caller_is_known_by_its_head(lines: list[str], soap: str) -> None:
    _, known_fields, _ = sort_fields([line.encode() for line in lines], REQUEST_RULES)
    assert request_soap_namespace(known_fields) == soap
    head = "\r\n".join(["POST /x HTTP/1.1", "Host: gw", *lines, "X-Cut: of"])
    assert soap_namespace_of_broken_head(head.encode()) == soap
    assert soap_namespace_of_broken_head(head.replace("\r\n", "\n").encode()) == soap
