"""Before step 3 of the walk: what a SOAP caller says of itself within its message stays here."""

from gateway.oic.envelopes import Screen, may_be_soap
from gateway.proxy.exchange import Exchange
from gateway.proxy.requests import RequestHead

SOAP_TRIGGERS = "/ic/ws/"
"""In the path of every SOAP trigger of OIC."""


def is_screened(head: RequestHead, target: str) -> bool:
    """Whether the request's body, which there is, may be a SOAP message."""
    noted = head.noted
    return may_be_soap(
        noted.get(b"content-type"), soap_action=b"soapaction" in noted, is_soap_route=SOAP_TRIGGERS in target
    )


async def screen(exchange: Exchange, head: RequestHead, target: str, idle: float) -> None:
    """Cuts the caller's own credentials out of the message. Raises BadRequest where they cannot be seen, CallerGone."""
    noted = head.noted
    seen = Screen(
        noted.get(b"content-type"),
        soap_action=b"soapaction" in noted,
        is_soap_route=SOAP_TRIGGERS in target,
        coding=noted.get(b"content-encoding"),
    )
    try:
        await exchange.body.screen(seen, idle=idle)
    finally:
        exchange.soap = seen.space or exchange.soap
