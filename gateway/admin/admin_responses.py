"""The responses of the admin port: JSON documents, problem documents and large texts in chunks."""

import asyncio
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from gateway.observe.time_slices import encode_chunks, run_in_slices

_HEADERS = {"Server": "oic-gateway", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_JSON = json.JSONEncoder(default=str, indent=2)


async def send_chunks(request: BaseRequest, chunks: Sequence[bytes], content_type: str) -> StreamResponse:
    """Send a large body in chunks, between which the loop serves callers."""
    length = sum(map(len, chunks))
    response = StreamResponse(headers={**_HEADERS, "Content-Type": content_type, "Content-Length": str(length)})
    await response.prepare(request)
    if request.method != "HEAD":
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
    await response.write_eof()
    return response


async def send_document(request: BaseRequest, document: dict[str, Any]) -> StreamResponse:
    """Send a large document."""
    chunks = await run_in_slices(encode_chunks(_JSON.iterencode(document)))
    return await send_chunks(request, [*chunks, b"\n"], "application/json")


def json_response(body: bytes) -> Response:
    """Return a successful response with a body that is JSON already."""
    return Response(body=body, headers={**_HEADERS, "Content-Type": "application/json"})


def document_response(status: int, document: dict[str, Any], **headers: str) -> Response:
    """Return a response with a small document."""
    body = _JSON.encode(document).encode() + b"\n"
    return Response(status=status, body=body, headers={**_HEADERS, "Content-Type": "application/json", **headers})


def problem_response(status: int, detail: str, **headers: str) -> Response:
    """Return a problem document (RFC 9457) with this detail."""
    return problem_document(status, {"detail": detail}, **headers)


def problem_document(status: int, members: dict[str, Any], **headers: str) -> Response:
    """Return a problem document (RFC 9457) with these members."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, **members}
    return document_response(status, document, **{"Content-Type": "application/problem+json", **headers})
