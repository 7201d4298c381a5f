"""`check`: every mistake at once with its line; `--live` really asks, and explains what it was answered."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.certificates import server_context, server_pem
from tests.fakes.process import run
from tests.system.scene import SECRETS, Settings, credential, settings, written

SIX_MISTAKES = """\
listen: 0.0.0.0:8080
admin: 127.0.0.1:9090
drain: 30

credentials:
  app:
    token_url: https://identity.example.com/oauth2/v1/token
    client_id: app-id
    client_secret: swordfish

routes:
  - name: orders
    path: /orders/
    upstream: https://oic.example.com/orders/
    credential: apq
    metods: [GET]
  - name: stock
    path: /orders
    upstream: https://oic.example.com/stock/
    credential: app
"""


async def test_a_good_file_is_reported_as_good(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    ended = await run("check", "-c", file, **SECRETS)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"{file}: OK: 9 routes, 1 credential\n"
    assert not sandbox.token_requests


async def test_six_mistakes_are_all_named_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(SIX_MISTAKES, encoding="utf-8")
    ended = await run("check", "-c", file)
    assert (ended.status, ended.out) == (78, "")
    rows = ended.err.splitlines()
    expected = {
        1: ("listen", "allow"),
        3: ("drain", "unit"),
        9: ("credentials.app.client_secret", "{env: NAME}"),
        15: ("routes[0].credential", "did you mean `app`?"),
        16: ("routes[0].metods", "did you mean `methods`?"),
        18: ("routes[1].path", "routes[0]"),
    }
    assert [row.split(": ")[0] for row in rows] == [f"{file}:{line}" for line in expected]
    for row, (place, remedy) in zip(rows, expected.values(), strict=True):
        assert row.split(": ")[1] == place
        assert remedy in row
    assert "swordfish" not in ended.err


async def test_a_warning_is_reported_and_does_not_fail(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["credentials"]["spare"] = credential(sandbox.token_url)
    ended = await run("check", "-c", written(tmp_path, document), **SECRETS)
    assert ended.status == 0
    assert "credentials.spare: warning: is not used by any route" in ended.err


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    ended = await run("check", "-c", tmp_path / "none.yaml")
    assert ended.status == 78
    assert "none.yaml: does not exist" in ended.err
    unnamed = await run("check")
    assert unnamed.status == 78
    for way in ("`oic-gateway check -c FILE`", "OIC_GATEWAY_CONFIG", "--upstream", "`oic-gateway init`"):
        assert way in unnamed.err


async def test_live_all_is_well(tmp_path: Path, sandbox: Sandbox) -> None:
    ended = await run("check", "--live", "-c", written(tmp_path, settings(sandbox)), **SECRETS)
    assert ended.status == 0, ended.out + ended.err
    assert "ok   credential app: a token with a lifetime of" in ended.out
    assert f"ok   upstream {sandbox.origin}: reached" in ended.out
    assert "ok   route orders: GET /ic/api/integration/v1/flows/rest/ORDERS/1.0/metadata answered 200" in ended.out
    assert len(sandbox.token_requests) == 1
    assert {call.method for call in sandbox.calls} == {"GET"}


async def live(file: Path, *signs: str, **variables: str) -> None:
    """The live check fails with status 69 and says all of this, without a trace."""
    ended = await run("check", "--live", "-c", file, **{**SECRETS, **variables})
    assert ended.status == 69, ended.out + ended.err
    assert "Traceback" not in ended.err
    assert "→" in ended.out
    for sign in signs:
        assert sign in ended.out


async def test_live_a_wrong_secret_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, settings(sandbox))
    await live(file, "FAIL credential app: invalid_client", "Compare client id and secret", APP_SECRET="wrong-secret")


async def test_live_a_scope_with_a_slash_before_urn_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["credentials"]["app"]["scope"] = sandbox.scope.replace("urn:", "/urn:", 1)
    message = "FAIL credential app: scope-slash: invalid_scope"
    await live(written(tmp_path, document), message, "without a slash before `urn`")


async def test_live_a_grant_that_is_not_ticked_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    client = sandbox.clients[sandbox.client_id]
    sandbox.clients[sandbox.client_id] = replace(client, grants=frozenset({"password"}))
    await live(written(tmp_path, settings(sandbox)), "unauthorized_client", "Tick the credential's grant")


async def test_live_an_identity_domain_that_is_down_is_explained(
    tmp_path: Path, sandbox: Sandbox, closed_port: int
) -> None:
    document = settings(sandbox)
    document["credentials"]["app"]["token_url"] = f"http://127.0.0.1:{closed_port}/oauth2/v1/token"
    await live(
        written(tmp_path, document),
        "FAIL credential app: connect:",
        "network path to the identity domain",
        "ok   upstream",
    )


async def test_live_an_upstream_that_cannot_be_reached_is_explained(
    tmp_path: Path, sandbox: Sandbox, closed_port: int
) -> None:
    document = settings(sandbox)
    document["routes"][0]["upstream"] = f"http://127.0.0.1:{closed_port}/orders/"
    await live(
        written(tmp_path, document),
        "FAIL upstream http://127.0.0.1:",
        "No program listens on the port",
        "ok   credential app",
    )


async def test_live_an_unknown_name_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox)
    document["routes"][0]["upstream"] = "https://oic.invalid/orders/"
    await live(written(tmp_path, document), "FAIL upstream https://oic.invalid:443", "host name is misspelt")


def with_ca(document: Settings, *, credential_ca: Path | None, route_ca: Path | None) -> Settings:
    if credential_ca is not None:
        document["credentials"]["app"]["tls"] = {"ca": str(credential_ca)}
    if route_ca is not None:
        document["defaults"] = {"tls": {"ca": str(route_ca)}}
    return document


@pytest.mark.parametrize(
    ("trusts_identity", "trusts_upstream", "sign"),
    [(False, True, "FAIL credential app: tls-trust"), (True, False, "the certificate is not trusted")],
)
async def test_live_a_certificate_that_is_not_trusted_is_explained(
    tmp_path: Path, *, trusts_identity: bool, trusts_upstream: bool, sign: str
) -> None:
    pem = server_pem(tmp_path)
    async with Sandbox(ssl_context=server_context(pem)) as sandbox:
        document = with_ca(
            settings(sandbox),
            credential_ca=pem if trusts_identity else None,
            route_ca=pem if trusts_upstream else None,
        )
        await live(written(tmp_path, document), sign, "tls", "ca")
        corrected = with_ca(settings(sandbox), credential_ca=pem, route_ca=pem)
        ended = await run("check", "--live", "-c", written(tmp_path, corrected), **SECRETS)
        assert ended.status == 0, ended.out
