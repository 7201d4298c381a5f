import asyncio
import contextlib
import gzip
import json
import ssl
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.errors import TokenRefused, TokenUnavailable
from gateway.network.dial import EgressProxy
from gateway.oauth.endpoint import TokenEndpoint
from gateway.oauth.failures import failure_remedy
from gateway.oauth.grants import TokenRequest, build_token_request
from tests.fakes.authlib_server import Client, serving
from tests.fakes.certificates import server_pem
from tests.fakes.identity import CLOSE, Answer, Identity, answer, in_pieces, refusal, token
from tests.fakes.waiting import TIME_LIMIT

SECRET = "s3cret-horse+battery:staple"
PROXY_LOGIN = "Basic cHJveHk6cGFzcw=="


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def request(url: str, client_auth: str = "basic") -> TokenRequest:
    return build_token_request(url, client_id="orders", client_secret=SECRET, client_auth=client_auth, scope="orders")


async def reason_of(endpoint: TokenEndpoint, token_request: TokenRequest) -> str:
    with pytest.raises(TokenUnavailable) as caught:
        await endpoint(token_request)
    assert SECRET not in caught.value.reason
    return caught.value.reason


async def test_what_goes_over_the_wire_is_the_request_and_no_more() -> None:
    async with Identity() as identity:
        reply = await TokenEndpoint()(request(identity.url))
    assert (reply.value, reply.expires_in) == ("token-1", 3600.0)
    [received] = identity.requests
    assert received.line == "POST /oauth2/v1/token HTTP/1.1"
    assert received.form == {"grant_type": ["client_credentials"], "scope": ["orders"]}
    assert set(received.headers) == {
        "host",
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "user-agent",
    }
    assert received.headers["connection"] == "close"
    assert received.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_neither_secret_nor_token_follows_a_redirect(status: int) -> None:
    async with Identity() as elsewhere, Identity(answer(status, location=elsewhere.url)) as identity:
        reason = await reason_of(TokenEndpoint(), request(identity.url))
    assert reason.startswith("redirect:")
    assert elsewhere.requests == []


async def test_no_cookie_is_kept_between_requests() -> None:
    first = answer(200, {"access_token": "a"}, set_cookie="session=1; Path=/")
    async with Identity(first) as identity:
        # Cookie jars take no cookie from an IP address anyway.
        token_request = request(identity.url.replace("127.0.0.1", "localhost"))
        await TokenEndpoint()(token_request)
        await TokenEndpoint()(token_request)
    assert "cookie" not in identity.requests[1].headers


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_in_pieces_is_read_to_its_end(*, chunked: bool) -> None:
    body = json.dumps({"access_token": "abc" * 1000}).encode()
    async with Identity(in_pieces(body, 1, 1, 1000, 1000, chunked=chunked)) as identity:
        assert (await TokenEndpoint()(request(identity.url))).value == "abc" * 1000


@pytest.mark.parametrize(
    "response",
    [
        answer(200, b" " * (256 * 1024 + 1)),
        in_pieces(b" " * (256 * 1024 + 1), 1, 200_000, chunked=True),
        answer(200, gzip.compress(b" " * 20_000_000), content_encoding="gzip"),
    ],
)
async def test_an_endless_answer_is_cut_short(response: Answer) -> None:
    async with Identity(response) as identity:
        reason = await reason_of(TokenEndpoint(), request(identity.url))
    assert reason == "unreadable: the answer is longer than 256 KiB"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (CLOSE, "broken"),
        (Answer(b"garbage\r\n\r\n"), "broken"),
        (Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"), "broken"),
        (Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "broken"),
        (Answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), "broken"),
        (answer(200, b"<html>"), "unreadable"),
        (answer(200), "unreadable"),
        (answer(503, b"busy"), "unreadable"),
        (refusal("temporarily_unavailable", 503), "temporarily_unavailable"),
    ],
)
async def test_a_broken_answer_is_tried_again(response: Answer, code: str) -> None:
    async with Identity(response) as identity:
        reason = await reason_of(TokenEndpoint(), request(identity.url))
    assert reason.startswith(f"{code}: ")


async def test_a_gzip_response_without_request_is_understood() -> None:
    body = gzip.compress(json.dumps({"access_token": "abc"}).encode())
    async with Identity(answer(200, body, content_encoding="gzip")) as identity:
        assert (await TokenEndpoint()(request(identity.url))).value == "abc"


async def test_the_whole_exchange_is_bounded_in_time() -> None:
    async with Identity(token("late").behind(asyncio.Event())) as identity:
        reason = await reason_of(TokenEndpoint(timeout=0.05), request(identity.url))
    assert reason.startswith("timeout: ")


async def test_the_connection_has_a_bound_of_its_own() -> None:
    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # the TLS hello, and then the end: no answer in between
        writer.close()

    async with await asyncio.start_server(stay_silent, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
        reason = await reason_of(TokenEndpoint(timeout=60, connect_timeout=0.05), request(url))
    assert reason.startswith("timeout: no connection in time")


async def test_an_unusable_tls_file_is_named_and_nothing_is_sent() -> None:
    async with Identity() as identity:
        endpoint = TokenEndpoint(tls=partial(ssl.create_default_context, cafile="/nowhere/ca.pem"))
        with pytest.raises(TokenUnavailable) as caught:
            await endpoint(request(identity.url.replace("http:", "https:")))
        assert caught.value.reason.startswith("certificate: ")
        assert "`tls`" in failure_remedy(caught.value)
        assert identity.requests == []


async def test_of_several_tokens_the_wanted_one_is_taken() -> None:
    body: dict[str, object] = {
        "tokenResponses": [{"access_token": "one", "scope": "stock"}, {"access_token": "two", "scope": "orders"}]
    }
    async with Identity(answer(200, body)) as identity:
        assert (await TokenEndpoint()(request(identity.url))).value == "two"


async def test_a_closed_port_is_named() -> None:
    async with Identity() as identity:
        pass
    assert (await reason_of(TokenEndpoint(), request(identity.url))).startswith("connect: ")


@pytest.mark.parametrize("url", ["http://", "http://[::1", "ftp://127.0.0.1/", "token"])
async def test_an_unusable_url_is_named(url: str) -> None:
    assert (await reason_of(TokenEndpoint(), request(url))).partition(":")[0] == "url"


async def test_a_text_of_aiohttp_is_never_quoted() -> None:
    raw = b"HTTP/1.1 200 OK\r\nbad header: tok-en-in-a-bad-line\x00\r\n\r\n"
    async with Identity(Answer(raw)) as identity:
        reason = await reason_of(TokenEndpoint(), request(identity.url))
    assert "tok-en" not in reason


async def test_the_cause_is_kept() -> None:
    async with Identity(CLOSE) as identity:
        with pytest.raises(TokenUnavailable) as caught:
            await TokenEndpoint()(request(identity.url))
    assert isinstance(caught.value.__cause__, aiohttp.ClientError)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return server_pem(tmp_path_factory.mktemp("tls"))


async def test_only_a_trusted_certificate_gets_the_secret(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with Identity(tls=server) as identity:
        token_request = request(identity.url)
        with pytest.raises(TokenUnavailable) as caught:
            await TokenEndpoint()(token_request)
        assert caught.value.reason.startswith("tls-trust: ")
        assert "self-signed" in caught.value.reason
        assert "tls.ca" in failure_remedy(caught.value)
        assert identity.requests == []
        trusting = TokenEndpoint(tls=partial(ssl.create_default_context, cafile=certificate))
        assert (await trusting(token_request)).value == "token-1"


async def test_a_port_that_speaks_no_tls_is_named() -> None:
    def answer_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_at_once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reason = await reason_of(TokenEndpoint(), request(f"https://127.0.0.1:{port}/token"))
    assert reason.startswith("tls: ")


async def test_an_egress_proxy_gets_its_own_credentials_only() -> None:
    async with Identity() as proxy:
        through = TokenEndpoint(proxy=lambda: EgressProxy("127.0.0.1", port_of(proxy.url), PROXY_LOGIN))
        await through(request("http://idcs.example/token"))
        [received] = proxy.requests
        assert received.line == "POST http://idcs.example/token HTTP/1.1"
        assert received.headers["proxy-authorization"] == "Basic cHJveHk6cGFzcw=="


class Tunnel:
    """An egress proxy that grants every CONNECT and leads it to `port`; `heads` are the requests it saw."""

    def __init__(self, port: int) -> None:
        self.heads: list[bytes] = []
        self.ended = asyncio.Event()
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pipe(reader, inner_writer), self._pipe(inner_reader, writer))
        self.ended.set()

    @staticmethod
    async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_tunnel_separates_proxy_and_identity_domain_secrets(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with Identity(tls=server) as identity:
        tunnel = Tunnel(port_of(identity.url))
        async with await asyncio.start_server(tunnel.serve, "127.0.0.1", 0) as listener:
            endpoint = TokenEndpoint(
                tls=partial(ssl.create_default_context, cafile=certificate),
                proxy=partial(EgressProxy, "127.0.0.1", listener.sockets[0].getsockname()[1], PROXY_LOGIN),
            )
            assert (await endpoint(request(identity.url))).value == "token-1"
            async with asyncio.timeout(TIME_LIMIT):
                await tunnel.ended.wait()
    [head] = tunnel.heads
    assert b"Proxy-Authorization: Basic cHJveHk6cGFzcw==\r\n" in head
    assert b"\r\nAuthorization" not in head
    [received] = identity.requests
    assert "proxy-authorization" not in received.headers
    assert "authorization" in received.headers


async def test_a_refused_tunnel_names_the_proxy_and_shows_no_secret() -> None:
    async with Identity(answer(407)) as proxy:
        through = TokenEndpoint(proxy=lambda: EgressProxy("127.0.0.1", port_of(proxy.url), PROXY_LOGIN))
        reason = await reason_of(through, request("https://idcs.example/token"))
    assert reason.startswith("proxy: ")
    assert "407" in reason
    [received] = proxy.requests
    assert received.line.startswith("CONNECT idcs.example:443 ")
    assert received.headers["proxy-authorization"] == "Basic cHJveHk6cGFzcw=="
    assert "authorization" not in received.headers
    assert received.body == b""


async def test_the_environments_proxy_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Identity() as identity, Identity() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        await TokenEndpoint()(request(identity.url))
    assert proxy.requests == []


ODD = [
    ("orders", "plain"),
    ("a:b", "c:d"),
    ("with space", "and + plus"),
    ("100%", "%41%2B&=?#/"),
    ("käse", "päss wörd€☃"),
    ("tab\tquote\"'", "back\\slash~*!()"),
]


@pytest.mark.parametrize("client_auth", ["basic", "post"])
@pytest.mark.parametrize(("client_id", "secret"), ODD)
async def test_authlib_understands_any_id_and_secret(client_id: str, secret: str, client_auth: str) -> None:
    client = Client(client_id, secret, method=f"client_secret_{client_auth}")
    with serving(client) as (url, server):
        token_request = build_token_request(
            url, client_id=client_id, client_secret=secret, client_auth=client_auth, scope="orders"
        )
        reply = await TokenEndpoint()(token_request)
        assert [reply.value] == server.issued
        assert reply.expires_in == 864000.0


@pytest.mark.parametrize(
    ("client_id", "secret", "client_auth", "scope", "code"),
    [
        ("orders", "wrong", "basic", "orders", "invalid_client"),
        ("nobody", "right", "basic", "orders", "invalid_client"),
        ("orders", "right", "post", "orders", "invalid_client"),
        ("orders", "right", "basic", "everything", "invalid_scope"),
    ],
)
async def test_authlib_refuses_for_good(
    *, client_id: str, secret: str, client_auth: str, scope: str, code: str
) -> None:
    with serving(Client("orders", "right", method="client_secret_basic")) as (url, server):
        token_request = build_token_request(
            url, client_id=client_id, client_secret=secret, client_auth=client_auth, scope=scope
        )
        with pytest.raises(TokenRefused) as caught:
            await TokenEndpoint()(token_request)
        assert caught.value.reason.startswith(f"{code}: ")
        assert server.issued == []
