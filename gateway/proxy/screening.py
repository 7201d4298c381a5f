"""Before step 3 of the walk: what a SOAP caller says of itself within its message stays here."""

from gateway.http.request_head import RequestHead
from gateway.oic.soap_credentials import SoapCredentialFilter, may_be_soap
from gateway.proxy.exchange import Exchange

SOAP_TRIGGERS = "/ic/ws/"
"""In the path of every SOAP trigger of OIC."""


def may_carry_soap_credentials(head: RequestHead, target: str) -> bool:
    """Whether the request's body, which there is, may be a SOAP message."""
    noted = head.known_fields
    return may_be_soap(
        noted.get(b"content-type"), soap_action=b"soapaction" in noted, is_soap_route=SOAP_TRIGGERS in target
    )


async def strip_soap_credentials(exchange: Exchange, head: RequestHead, target: str, idle: float) -> None:
    """Cuts the caller's own credentials out of the message. Raises BadRequest where they cannot be seen, CallerGone."""
    noted = head.known_fields
    seen = SoapCredentialFilter(
        noted.get(b"content-type"),
        soap_action=b"soapaction" in noted,
        is_soap_route=SOAP_TRIGGERS in target,
        coding=noted.get(b"content-encoding"),
    )
    try:
        await exchange.body.inspect(seen, idle=idle)
    finally:
        exchange.soap_namespace = seen.space or exchange.soap_namespace
