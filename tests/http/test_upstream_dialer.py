"""Making connections: names, TCP, egress proxies, TLS, and the reason when one of them fails."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.errors import UpstreamUnreachable
from gateway.http.upstream_connection import UpstreamConnection
from gateway.http.upstream_dialer import dial
from gateway.network.dial import EgressProxy, Origin, basic_authorization
from gateway.proxy.headers import RESPONSE_RULES
from tests.fakes.egress import Egress
from tests.fakes.gate import Gate, config, scene, until
from tests.fakes.identity import Identity
from tests.fakes.upstream import OK, ScriptedConnection, Upstream
from tests.fakes.waiting import TIME_LIMIT


def lost(_: UpstreamConnection) -> None:
    pass


async def why(origin: Origin) -> str:
    """The reason of a failure."""
    async with asyncio.timeout(TIME_LIMIT):
        with pytest.raises(UpstreamUnreachable) as caught:
            await dial(origin, lost, RESPONSE_RULES)
    return caught.value.reason


def served(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_an_origin_has_a_name() -> None:
    assert Origin("::1", 8080, None, None).name == "http://[::1]:8080"
    assert Origin("oic.example.com", 443, ssl.create_default_context(), None).name == "https://oic.example.com:443"


def test_a_proxys_password_is_not_shown() -> None:
    assert basic_authorization("user", "p:ss") == "Basic dXNlcjpwOnNz"
    assert "dXNlcjpwOnNz" not in repr(Origin("x", 1, None, EgressProxy("p", 2, basic_authorization("user", "p:ss"))))


async def test_each_step_is_named_where_it_fails(certificate: Path, closed_port: int) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    assert (await why(Origin("no.such.host.invalid", 80, None, None))).startswith(
        "http://no.such.host.invalid:80: name: "
    )
    assert (await why(Origin("x" * 300, 80, None, None))).split(": ")[1] == "name"
    assert (await why(Origin("127.0.0.1", closed_port, None, None))).startswith(
        f"http://127.0.0.1:{closed_port}: connect: "
    )
    async with Upstream(tls=served(certificate)) as peer:
        reason = await why(Origin("127.0.0.1", peer.port, ssl.create_default_context(), None))
        assert reason == f"https://127.0.0.1:{peer.port}: TLS: the certificate is not trusted: self-signed certificate"
        reason = await why(Origin("localhost", peer.port, trusting, None))
        assert "Hostname mismatch" in reason

    async def no_tls(conversation: ScriptedConnection) -> None:
        await conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with Upstream(no_tls) as peer:
        assert (await why(Origin("127.0.0.1", peer.port, trusting, None))).split(": ")[1] == "TLS"

    async def hang_up(conversation: ScriptedConnection) -> None:
        await conversation.reader.read(1)

    async with Upstream(hang_up) as peer:
        assert (await why(Origin("127.0.0.1", peer.port, trusting, None))).split(": ")[1] == "TLS"


@pytest.mark.parametrize("stuck", ["TLS", "egress proxy"])
async def test_giving_up_leaves_no_socket_open(stuck: str) -> None:
    async def mute(conversation: ScriptedConnection) -> None:
        await conversation.reader.read()

    async with asyncio.timeout(TIME_LIMIT), Upstream(mute) as peer:
        if stuck == "TLS":
            origin = Origin("127.0.0.1", peer.port, ssl.create_default_context(), None)
        else:
            origin = Origin("oic.invalid", 443, None, EgressProxy("127.0.0.1", peer.port))
        call = asyncio.create_task(dial(origin, lost, RESPONSE_RULES))
        await peer.until(lambda: peer.connections == 1)
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()
        await peer.until(lambda: peer.open == 0)


async def test_another_address_of_a_name_is_tried() -> None:
    async with asyncio.timeout(TIME_LIMIT), Upstream() as peer:  # `localhost` may be ::1 first, where no server listens
        connection = await dial(Origin("localhost", peer.port, None, None), lost, RESPONSE_RULES)
        connection.abort()


# Names ---------------------------------------------------------------------------------------------------------------

LOGIN = "set `proxy.username` and `proxy.password`, or user and password in the URL of HTTPS_PROXY"
LOOPS = pytest.mark.parametrize("kind", [uvloop.Loop, asyncio.SelectorEventLoop])


def resolving(kind: type[asyncio.AbstractEventLoop], *answers: list[str]) -> asyncio.Runner:
    """A loop that resolves every name to these addresses, one answer after the other."""
    coming = list(answers)

    async def getaddrinfo(loop: Any, host: str, port: int, **hints: Any) -> Any:
        if host != "oic.example.com":  # uvloop asks for addresses too, as it connects
            return await kind.getaddrinfo(loop, host, port, **hints)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in coming.pop(0)]

    return asyncio.Runner(loop_factory=type("Resolving", (kind,), {"getaddrinfo": getaddrinfo}))


class Endpoints:
    """Three addresses with one port in common: the test decides what listens at each."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.live = stack.enter_context(socket.create_server(("127.0.0.2", 0)))
        self.port: int = self.live.getsockname()[1]
        self.live.settimeout(0)

    def second(self, address: str) -> socket.socket:
        """One that listens too."""
        sock = self._stack.enter_context(socket.create_server((address, self.port)))
        sock.settimeout(0)
        return sock

    def hole(self, address: str) -> None:
        """One that answers nothing at all: its line is full, and the kernel drops who comes."""
        self._stack.enter_context(socket.create_server((address, self.port), backlog=0))
        for _ in range(4):
            filler = self._stack.enter_context(socket.socket())
            filler.settimeout(0)
            with suppress(BlockingIOError):
                filler.connect((address, self.port))

    @property
    def origin(self) -> Origin:
        return Origin("oic.example.com", self.port, None, None)


def has_caller(sock: socket.socket) -> bool:
    try:
        sock.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@LOOPS
def test_a_name_is_asked_for_at_every_dial(kind: type[asyncio.AbstractEventLoop]) -> None:
    with ExitStack() as stack, resolving(kind, ["127.0.0.2"], ["127.0.0.3"], ["127.0.0.2"]) as runner:
        endpoints = Endpoints(stack)
        moved = endpoints.second("127.0.0.3")
        for here, there in ((endpoints.live, moved), (moved, endpoints.live), (endpoints.live, moved)):
            connection = runner.run(dial(endpoints.origin, lost, RESPONSE_RULES))
            assert (has_caller(here), has_caller(there)) == (True, False)
            runner.run(wait_closed(connection))


async def wait_closed(connection: UpstreamConnection) -> None:
    connection.abort()
    await asyncio.sleep(0)


@LOOPS
def test_dead_addresses_of_a_name_are_passed_over(kind: type[asyncio.AbstractEventLoop]) -> None:
    addresses = ["127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.2"]  # mute, refusing, mute, alive
    with ExitStack() as stack, resolving(kind, addresses) as runner:
        endpoints = Endpoints(stack)
        endpoints.hole("127.0.0.3")
        endpoints.hole("127.0.0.5")

        async def reach() -> None:
            async with asyncio.timeout(TIME_LIMIT):
                await wait_closed(await dial(endpoints.origin, lost, RESPONSE_RULES))

        runner.run(reach())
        assert has_caller(endpoints.live)


@LOOPS
def test_a_name_without_a_live_address_fails_in_time(kind: type[asyncio.AbstractEventLoop]) -> None:
    with ExitStack() as stack, resolving(kind, ["127.0.0.4", "127.0.0.5"], ["127.0.0.3"]) as runner:
        endpoints = Endpoints(stack)
        endpoints.hole("127.0.0.3")
        assert runner.run(why(endpoints.origin)).startswith(f"http://oic.example.com:{endpoints.port}: connect: ")

        async def give_up() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await dial(endpoints.origin, lost, RESPONSE_RULES)

        before = set(Path("/proc/self/fd").iterdir())
        runner.run(give_up())
        assert set(Path("/proc/self/fd").iterdir()) == before


# Through an egress proxy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_tls_proxy", [False, True])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_tunnel_carries_plain_and_tls(certificate: Path, *, tls: bool, is_tls_proxy: bool) -> None:
    context = served(certificate)
    async with (
        Identity() as identity,
        Egress(tls=context if is_tls_proxy else None) as egress,
        Upstream(tls=context if tls else None) as peer,
    ):
        route = {"proxy": {"url": egress.url}, "tls": {"ca": str(certificate)}}
        async with Gate(config(identity.url, peer.url, route=route)) as gate:
            for _ in range(2):
                assert (await gate.get())[2] == b"ok"
            large = b"x" * 1_000_000
            assert (await gate.post(large))[0] == 200
            assert peer.requests[2].body == large
            authority = f"127.0.0.1:{peer.port}"
            assert [head.decode() for head in egress.heads] == [
                f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
            ]
            assert peer.requests[0].field("Proxy-Authorization") is None


async def test_an_idle_connection_in_two_layers_of_tls_is_watched(certificate: Path) -> None:
    async def then_close(conversation: ScriptedConnection) -> None:
        await conversation.request()
        await conversation.send(OK)

    context = served(certificate)
    async with (
        Identity() as identity,
        Egress(tls=context) as egress,
        Upstream(then_close, then_close, tls=context) as peer,
        Gate(
            config(identity.url, peer.url, route={"proxy": {"url": egress.url}, "tls": {"ca": str(certificate)}})
        ) as gate,
    ):
        for _ in range(2):
            assert (await gate.get())[2] == b"ok"
            await peer.until(lambda: peer.open == 0)
            await until(lambda: gate.pool.count_by_state()["idle"] == 0)
        assert [record.attempts for record in gate.records] == [1, 1]


async def test_a_proxy_that_answers_in_tls_is_named(certificate: Path) -> None:
    async with Egress(tls=served(certificate)) as egress:
        reason = await why(Origin("oic.invalid", 443, None, EgressProxy("127.0.0.1", egress.port)))
    assert reason.startswith("http://oic.invalid:443: egress proxy: the response of the proxy was cut off")


async def test_a_proxys_certificate_is_checked_for_its_name(certificate: Path) -> None:
    async with Egress(tls=served(certificate)) as egress:
        trusting = ssl.create_default_context(cafile=certificate)
        reason = await why(Origin("oic.invalid", 443, None, EgressProxy("localhost", egress.port, tls=trusting)))
        assert "egress proxy: TLS: the certificate is not trusted: Hostname mismatch" in reason
        assert egress.heads == []


async def test_the_proxys_password_goes_to_the_proxy_alone() -> None:
    proxy = {"username": "user", "password": {"env": "GATE_SECRET"}}
    async with AsyncExitStack() as stack:
        identity, egress = await stack.enter_async_context(Identity()), await stack.enter_async_context(Egress())
        peer = await stack.enter_async_context(Upstream())
        settings = config(identity.url, peer.url, route={"proxy": {"url": egress.url, **proxy}})
        gate = await stack.enter_async_context(Gate(settings))
        assert (await gate.get())[0] == 200
        expected = f"Proxy-Authorization: {basic_authorization('user', 's3cr3t-of-the-tests')}\r\n"
        assert expected in egress.heads[0].decode()
        assert "roxy" not in peer.requests[0].head.decode()


@pytest.mark.parametrize(
    ("answer", "reason_text"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            f"the proxy answered 407: {LOGIN}",
        ),
        (b"HTTP/1.0 403 Forbidden\r\n\r\nno", "the proxy answered 403"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the response of the proxy is not HTTP"),
        (b"HTTP/1.1 200", "the response of the proxy was cut off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "the response of the proxy is longer than 16 KiB"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, "the proxy answered 403"),
    ],
)
async def test_a_proxy_that_refuses_is_named(answer: bytes, reason_text: str) -> None:
    async def send_answer(conversation: ScriptedConnection) -> None:
        await conversation.head()
        await conversation.send(answer)

    async with (
        Upstream(send_answer, send_answer) as egress,
        scene(route={"proxy": {"url": egress.url}}) as (gate, upstream, _),
    ):
        assert (await gate.get())[0] == 502
        [record] = gate.records
        assert record.error == "upstream-unreachable"
        assert record.reason == f"http://127.0.0.1:{upstream.port}: egress proxy: {reason_text}"
        assert upstream.connections == 0


async def test_bytes_behind_the_tunnels_head_are_the_origins() -> None:
    async def answer_in_one_breath(conversation: ScriptedConnection) -> None:
        await conversation.head()
        await conversation.send(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n")
        await conversation.request()
        await conversation.send(OK)

    async with Upstream(answer_in_one_breath) as egress, scene(route={"proxy": {"url": egress.url}}) as (gate, _, _):
        assert (await gate.get())[2] == b"ok"
