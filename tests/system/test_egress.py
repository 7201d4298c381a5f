"""The way out through a CONNECT proxy: as the environment says, as the file says, and with TLS that is checked."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.certificates import server_context, server_pem
from tests.fakes.process import gateway, run
from tests.system.scene import SECRETS, Settings, settings, written


class Tunnels:
    """A proxy that opens tunnels, whatever the name, to a port of this machine; `heads` are the requests it got, inside
    TLS where `tls` says so.
    """

    def __init__(self, *, answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n", tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._talks: set[asyncio.Task[None]] = set()
        self.heads: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for peer in tuple(self._talks):
            peer.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    @property
    def targets(self) -> list[str]:
        """The authorities that tunnels were asked for."""
        return [head.split(" ")[1] for head in self.heads]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = asyncio.current_task()
        assert peer is not None
        self._talks.add(peer)
        try:
            await self._tunnel(reader, writer)
        finally:
            self._talks.discard(peer)
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        writer.write(self._answer)
        if b" 200 " not in self._answer:
            return
        port = int(head.split(" ")[1].rpartition(":")[2])
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))
        finally:
            inner_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def beyond(folder: Path) -> AsyncIterator[tuple[Sandbox, Settings]]:
    """A sandbox that speaks TLS, and a configuration that names it `oic.invalid`: only a proxy can find it."""
    pem = server_pem(folder, "oic.invalid")
    async with Sandbox(ssl_context=server_context(pem)) as sandbox:
        document = settings(sandbox)
        named = {"ca": str(pem)}
        document["credentials"]["app"] |= {"tls": named, "token_url": elsewhere(sandbox.token_url)}
        document["defaults"] = {"tls": named}
        for one in document["routes"]:
            one["upstream"] = elsewhere(one["upstream"])
        yield sandbox, document


def elsewhere(url: str) -> str:
    return url.replace("127.0.0.1", "oic.invalid")


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
async def test_https_proxy_is_the_way_to_token_and_upstream(tmp_path: Path, name: str) -> None:
    async with beyond(tmp_path) as (sandbox, document), Tunnels() as proxy:
        proxied = {name: f"http://{proxy.address}"}
        async with gateway(written(tmp_path, document), **SECRETS, **proxied) as gate:
            status, _, body = await gate.post("/echo/body", b"through the tunnel")
            assert (status, body) == (200, b"through the tunnel")
            assert (await gate.get("/orders/"))[0] == 200
        authority = elsewhere(sandbox.origin).removeprefix("https://")
        assert proxy.targets == [authority, authority]  # one for the token, one kept for both calls
        assert all("Proxy-Authorization" not in head for head in proxy.heads)
        assert all("Bearer" not in head for head in proxy.heads)
        assert len(sandbox.calls) == 2


async def test_a_user_in_https_proxy_is_shown_to_the_proxy_alone(tmp_path: Path) -> None:
    async with beyond(tmp_path) as (sandbox, document), Tunnels() as proxy:
        proxied = {"HTTPS_PROXY": f"http://gate:pass%2Fword@{proxy.address}"}
        file = written(tmp_path, document | {"log": {"level": "debug"}})
        async with gateway(file, **SECRETS, **proxied) as gate:
            assert (await gate.get("/orders/"))[0] == 200
            _, status = await gate.ask("/status")
        assert all("Proxy-Authorization: Basic Z2F0ZTpwYXNzL3dvcmQ=\r\n" in head for head in proxy.heads)
        assert sandbox.calls[0].header("Proxy-Authorization") is None
        for unwanted in ("Z2F0ZTpwYXNz", "pass%2Fword", "pass/word"):
            assert unwanted not in gate.output_text() + str(status)


async def test_a_proxy_without_a_scheme_is_understood(tmp_path: Path) -> None:
    async with beyond(tmp_path) as (_, document), Tunnels() as proxy:
        async with gateway(written(tmp_path, document), **SECRETS, HTTPS_PROXY=proxy.address) as gate:
            assert (await gate.get("/orders/"))[0] == 200
        assert len(proxy.heads) == 2


@pytest.mark.parametrize("configured", [False, True])
async def test_an_https_proxy_gets_its_password_inside_tls(tmp_path: Path, *, configured: bool) -> None:
    async with beyond(tmp_path) as (sandbox, document), Tunnels(tls=server_context(tmp_path / "server.pem")) as proxy:
        variables = {"HTTPS_PROXY": f"https://gate:pass%2Fword@{proxy.address}", **SECRETS}
        if configured:
            way = {"url": f"https://{proxy.address}", "username": "gate", "password": {"env": "PROXY_PASSWORD"}}
            document["credentials"]["app"]["proxy"] = document["defaults"]["proxy"] = way
            variables = {"PROXY_PASSWORD": "pass/word", **SECRETS}
        file = written(tmp_path, document)
        async with gateway(file, **variables) as gate:
            large = b"through both" * 100_000
            status, _, body = await gate.post("/echo/body", large)
            assert (status, body) == (200, large)
            assert (await gate.get("/orders/"))[0] == 200
        authority = elsewhere(sandbox.origin).removeprefix("https://")
        assert proxy.targets == [authority, authority]  # one for the token, one kept for both calls
        assert all("Proxy-Authorization: Basic Z2F0ZTpwYXNzL3dvcmQ=\r\n" in head for head in proxy.heads)
        ended = await run("check", "--live", "-c", file, **variables)
        assert f"through the egress proxy {proxy.address}" in ended.out


async def test_a_proxy_whose_certificate_is_not_trusted_learns_nothing(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with beyond(tmp_path) as (sandbox, document), Tunnels(tls=server_context(server_pem(other))) as proxy:
        variables = {"HTTPS_PROXY": f"https://gate:word@{proxy.address}", **SECRETS}
        async with gateway(written(tmp_path, document), **variables) as gate:
            assert (await gate.get("/orders/"))[0] == 503
            _, ready = await gate.ask("/readyz")
            assert ready["credentials"]["app"]["code"] == "proxy"
            assert "TLS: the certificate is not trusted" in ready["credentials"]["app"]["error"]
        assert not proxy.heads
        assert not sandbox.token_requests
        trusting = {"url": f"https://{proxy.address}", "tls": {"ca": "other/server.pem"}}
        document["credentials"]["app"]["proxy"] = document["defaults"]["proxy"] = trusting
        async with gateway(written(tmp_path, document), **variables) as gate:
            assert (await gate.get("/orders/"))[0] == 200


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
async def test_a_proxy_of_another_kind_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    async with beyond(tmp_path) as (_, document):
        file = written(tmp_path, document)
        variables = {name: "socks5h://gate:pass-word@127.0.0.1:1080", **SECRETS}
        for verb in ("serve", "check"):
            ended = await run(verb, "-c", file, **variables)
            assert ended.status == 78
            assert f"{name}: has the unsupported scheme `socks5h`; use an http:// or https:// proxy" in ended.err
            assert "pass-word" not in ended.out + ended.err
        exempt = await run("check", "-c", file, **variables, NO_PROXY="oic.invalid")
        assert exempt.status == 0


async def test_a_proxy_to_the_provider_of_logins_is_checked(tmp_path: Path) -> None:
    async with beyond(tmp_path) as (_, document):
        sign_in = {"issuer": "https://idp.invalid", "client_id": "console"}
        console = {"url": "http://localhost:9", "sign_in": sign_in, "roles": {"viewer": ["*"]}}
        file = written(tmp_path, document | {"console": console})
        variables = {"HTTPS_PROXY": "socks5h://127.0.0.1:1080", "NO_PROXY": "oic.invalid,127.0.0.1", **SECRETS}
        ended = await run("check", "-c", file, **variables)
    assert ended.status == 78
    assert "HTTPS_PROXY: has the unsupported scheme" in ended.err


async def test_an_unsupported_proxy_scheme_is_reported_with_its_line(tmp_path: Path) -> None:
    async with beyond(tmp_path) as (_, document):
        document["defaults"]["proxy"] = {"url": "socks5://proxy.corp:1080"}
        ended = await run("check", "-c", written(tmp_path, document), **SECRETS)
    assert ended.status == 78
    [line] = ended.err.splitlines()
    assert re.search(r"gateway\.yaml:\d+: defaults\.proxy\.url: has the unsupported scheme `socks5`; ", line)


async def test_interim_answers_and_bare_line_feeds_open_the_tunnel(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connected\nVia: old\n\n"
    async with beyond(tmp_path) as (_, document), Tunnels(answer=answer) as proxy:
        async with gateway(written(tmp_path, document), **SECRETS, HTTPS_PROXY=proxy.address) as gate:
            assert (await gate.get("/orders/"))[0] == 200
        assert len(proxy.heads) == 2


async def test_no_proxy_is_honoured(tmp_path: Path) -> None:
    pem = server_pem(tmp_path, "oic.invalid")
    async with Sandbox(ssl_context=server_context(pem)) as sandbox, Tunnels() as proxy:
        document = settings(sandbox, defaults={"tls": {"ca": str(pem)}})
        document["credentials"]["app"]["tls"] = {"ca": str(pem)}
        for no_proxy in ("*", "localhost 127.0.0.1", "127.0.0.0/8"):
            variables = {**SECRETS, "HTTPS_PROXY": f"http://{proxy.address}", "NO_PROXY": no_proxy}
            async with gateway(written(tmp_path, document), **variables) as gate:
                assert (await gate.get("/orders/"))[0] == 200
        assert not proxy.heads


async def test_plain_http_needs_no_proxy(tmp_path: Path, sandbox: Sandbox) -> None:
    async with Tunnels() as proxy:
        variables = {"HTTPS_PROXY": f"http://{proxy.address}", "HTTP_PROXY": f"http://{proxy.address}", **SECRETS}
        async with gateway(written(tmp_path, settings(sandbox)), **variables) as gate:
            assert (await gate.get("/orders/"))[0] == 200
        assert not proxy.heads


async def test_the_file_s_proxy_wins_over_the_environment(tmp_path: Path) -> None:
    async with beyond(tmp_path) as (_, document), Tunnels() as named, Tunnels() as other:
        way = {"url": f"http://{named.address}", "username": "gate", "password": {"env": "PROXY_PASSWORD"}}
        document["credentials"]["app"]["proxy"] = way
        document["defaults"]["proxy"] = way
        variables = {"HTTPS_PROXY": f"http://{other.address}", "PROXY_PASSWORD": "word", **SECRETS}
        async with gateway(written(tmp_path, document), **variables) as gate:
            assert (await gate.get("/orders/"))[0] == 200
        assert len(named.heads) == 2
        assert all("Proxy-Authorization: Basic Z2F0ZTp3b3Jk\r\n" in head for head in named.heads)
        assert not other.heads


async def test_a_refusing_proxy_is_reported_and_gets_no_secret(tmp_path: Path) -> None:
    async with beyond(tmp_path) as (sandbox, document):
        async with Tunnels(answer=b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
            proxied = {"HTTPS_PROXY": f"http://{proxy.address}"}
            async with gateway(written(tmp_path, document), **SECRETS, **proxied) as gate:
                assert (await gate.get("/orders/"))[0] == 503
                _, ready = await gate.ask("/readyz")
                assert ready["credentials"]["app"]["code"] == "proxy"
            ended = await run("check", "--live", "-c", written(tmp_path, document), **SECRETS, **proxied)
            assert ended.status == 69
            assert "FAIL credential app: proxy-login: proxy: the egress proxy refuses the tunnel" in ended.out
            assert "egress proxy: the proxy answered 407" in ended.out
            assert all("Authorization" not in head for head in proxy.heads)
        assert not sandbox.token_requests


async def test_a_certificate_that_is_not_trusted_gets_no_token(tmp_path: Path) -> None:
    pem = server_pem(tmp_path, "oic.invalid")
    async with Sandbox(ssl_context=server_context(pem)) as oic, Sandbox() as identity:
        document = settings(oic)
        document["credentials"]["app"]["token_url"] = identity.token_url
        async with gateway(written(tmp_path, document), **SECRETS) as gate:
            assert (await gate.get("/orders/"))[0] == 502
            [record] = await gate.wait_for_records()
            assert record["error"] == "upstream-unreachable"
            assert "the certificate is not trusted" in record["reason"]
        assert not oic.calls


async def test_a_certificate_of_another_name_gets_no_token(tmp_path: Path, sandbox: Sandbox) -> None:
    pem = server_pem(tmp_path, "other.invalid")
    async with Sandbox(ssl_context=server_context(pem)) as oic, Tunnels() as proxy:
        document = settings(oic, defaults={"tls": {"ca": str(pem)}})
        document["credentials"]["app"]["token_url"] = sandbox.token_url
        for one in document["routes"]:
            one["upstream"] = elsewhere(one["upstream"])
        variables = {"HTTPS_PROXY": f"http://{proxy.address}", **SECRETS}
        async with gateway(written(tmp_path, document), **variables) as gate:
            assert (await gate.get("/orders/"))[0] == 502
            [record] = await gate.wait_for_records()
            assert "oic.invalid" in record["reason"]
        assert not oic.calls
