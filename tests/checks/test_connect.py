"""How far a connection comes, on real sockets: what the step that fails says, and which certificate was shown."""

import ssl
from pathlib import Path

import pytest

from gateway.checks.connect import check_connection
from gateway.network.dial import EgressProxy, Origin
from tests.fakes.authority import Authority
from tests.fakes.certificates import DAY
from tests.fakes.egress import Egress
from tests.fakes.upstream import Upstream


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.ca))


async def test_a_plain_connection_is_reached() -> None:
    async with Upstream() as upstream:
        contact = await check_connection(Origin("127.0.0.1", upstream.port, None, None), within=5)
        assert (contact.origin, contact.step, contact.certificate) == (upstream.url, "", None)
        assert not upstream.requests


async def test_a_good_certificate_is_read(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "Some Authority")
    async with Upstream(tls=authority.server("127.0.0.1", "oic.example")) as upstream:
        contact = await check_connection(Origin("127.0.0.1", upstream.port, trusting(authority), None), within=5)
    assert (contact.step, contact.tls_version, contact.verify_error) == ("", "TLSv1.3", 0)
    shown = contact.certificate
    assert shown is not None
    assert (shown.subject, shown.issuer, shown.names) == (
        "oic server",
        "Some Authority",
        ("oic.example", "127.0.0.1")[::-1],
    )
    assert shown.not_before < contact.now < shown.not_after


@pytest.mark.parametrize(
    ("verify", "names", "begins", "ends", "is_trusted"),
    [
        (20, ("127.0.0.1",), -DAY, DAY, False),
        (64, ("other.example",), -DAY, DAY, True),
        (10, ("127.0.0.1",), -3 * DAY, -DAY, True),
        (9, ("127.0.0.1",), DAY, 3 * DAY, True),
    ],
)
async def test_a_refused_certificate_is_read_too(
    tmp_path: Path, verify: int, names: tuple[str, ...], begins: object, ends: object, *, is_trusted: bool
) -> None:
    authority = Authority(tmp_path)
    context = trusting(authority) if is_trusted else ssl.create_default_context()
    async with Upstream(tls=authority.server(*names, begins=begins, ends=ends)) as upstream:  # type: ignore[arg-type] # drawn from the table
        contact = await check_connection(Origin("127.0.0.1", upstream.port, context, None), within=5)
        assert not upstream.requests
    assert (contact.step, contact.verify_error) == ("TLS", verify)
    assert contact.certificate is not None
    assert contact.certificate.names == names


async def test_a_stranger_s_names_are_made_safe(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Upstream(tls=authority.server(subject="evil\x1b[31m\n" + "x" * 40)) as upstream:
        contact = await check_connection(Origin("127.0.0.1", upstream.port, trusting(authority), None), within=5)
    assert contact.certificate is not None
    assert contact.certificate.subject.startswith("evil?[31m?x")


async def test_what_speaks_no_tls_has_no_certificate() -> None:
    async with Upstream(b"no TLS at all\r\n\r\n") as upstream:
        contact = await check_connection(
            Origin("127.0.0.1", upstream.port, ssl.create_default_context(), None), within=1
        )
    assert contact.step in {"TLS", "time"}
    assert contact.certificate is None


async def test_an_unknown_name_fails_in_its_step() -> None:
    contact = await check_connection(Origin("oic.invalid", 443, None, None), within=5)
    assert contact.step == "name"
    assert contact.detail


async def test_a_way_through_a_proxy_names_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Upstream(tls=authority.server()) as upstream, Egress() as egress:
        way = EgressProxy("127.0.0.1", egress.port)
        contact = await check_connection(Origin("127.0.0.1", upstream.port, trusting(authority), way), within=5)
        assert (contact.step, contact.proxy) == ("", f"127.0.0.1:{egress.port}")
        assert contact.certificate is not None


async def test_a_proxy_that_refuses_fails_in_its_step() -> None:
    async with Egress(b"HTTP/1.1 407 No\r\n\r\n") as egress:
        way = EgressProxy("127.0.0.1", egress.port)
        contact = await check_connection(Origin("oic.invalid", 443, ssl.create_default_context(), way), within=5)
    assert (contact.step, contact.detail.partition(":")[0]) == ("egress proxy", "the proxy answered 407")
