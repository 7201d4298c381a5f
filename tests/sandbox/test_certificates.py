import asyncio
import ssl
from typing import get_args

import pytest

from gateway.sandbox import Sandbox, Switches
from gateway.sandbox.certificates import KINDS
from gateway.sandbox.switches import CertificateFault

# OpenSSL's X509_V_ERR_… (x509_vfy.h) by what is wrong.
ENDED, NOT_TRUSTED, ANOTHER_NAME = 10, {18, 19, 20}, 62


async def handshake(sandbox: Sandbox, host: str = "localhost") -> int:
    """What a client finds wrong that trusts the authority which it was told of, if any, as strictly as OpenSSL can."""
    trust = ssl.create_default_context(cadata=sandbox.ca or None)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    port = int(sandbox.origin.rpartition(":")[2])
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return error.verify_code
    writer.close()
    await writer.wait_closed()
    return 0


def test_there_is_one_for_each_value_of_the_switch() -> None:
    assert {"", *KINDS} == set(get_args(CertificateFault))


async def test_a_trusted_one_is_good_for_both_hosts() -> None:
    async with Sandbox(switches=Switches(certificate="trusted")) as sandbox:
        assert sandbox.origin.startswith("https://127.0.0.1:")
        assert sandbox.design_origin.startswith("https://localhost:")
        assert [await handshake(sandbox, host) for host in ("localhost", "127.0.0.1")] == [0, 0]


@pytest.mark.parametrize(("kind", "wrong"), [("expired", ENDED), ("wrong-name", ANOTHER_NAME)])
async def test_another_is_wrong_in_one_thing_only(kind: CertificateFault, wrong: int) -> None:
    async with Sandbox(switches=Switches(certificate=kind)) as sandbox:
        assert await handshake(sandbox) == wrong


@pytest.mark.parametrize("kind", ["untrusted", "inspection"])
async def test_the_authority_of_an_untrusted_one_is_not_published(kind: CertificateFault) -> None:
    async with Sandbox(switches=Switches(certificate=kind)) as sandbox:
        assert sandbox.ca == ""
        assert await handshake(sandbox) in NOT_TRUSTED


async def test_without_the_switch_it_speaks_plain_http() -> None:
    async with Sandbox() as sandbox:
        assert (sandbox.origin[:7], sandbox.ca, sandbox.egress_url) == ("http://", "", "")
