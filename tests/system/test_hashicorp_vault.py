"""Secrets of HashiCorp Vault in the real process: over TLS, by each login, changed while running, and refused."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.authority import Authority
from tests.fakes.egress import Egress
from tests.fakes.hashicorp_vault import JWT, ROLE_ID, ROOT, SECRET_ID, FakeHashiCorpVault
from tests.fakes.identity import Identity, refusal
from tests.fakes.keys import pair
from tests.fakes.process import Process, gateway, run
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import wait_until
from tests.system.scene import SECRETS, Settings, settings, simple, written

KEY = "0123456789abcdef" * 4
APPROLE = {"approle": {"role_id": ROLE_ID, "secret_id": {"file": "secret-id"}}}
REF = {"vault": {"path": "apps/orders", "field": "client_secret"}}
NAME = "the field `client_secret` of the secret `secret/apps/orders` of Vault"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def vault(authority: Authority) -> Iterator[FakeHashiCorpVault]:
    with FakeHashiCorpVault(authority.server()) as made:
        made.put("apps/orders", client_secret=SECRETS["APP_SECRET"])
        yield made


@pytest.fixture(autouse=True)
def login(tmp_path: Path) -> None:
    for name, text in (("secret-id", SECRET_ID), ("jwt", JWT)):
        (tmp_path / name).write_text(text, encoding="ascii")
        (tmp_path / name).chmod(0o600)


def access(vault: FakeHashiCorpVault, authority: Authority, **more: object) -> Settings:
    return {"vault": {"url": vault.url, "tls": {"ca": str(authority.ca)}, "auth": APPROLE, **more}}


def with_secret(document: Settings, secret: object) -> Settings:
    document["credentials"]["app"]["client_secret"] = secret
    return document


async def test_secrets_of_vault_are_used(
    tmp_path: Path, sandbox: Sandbox, vault: FakeHashiCorpVault, authority: Authority
) -> None:
    vault.put("apps/store", key=KEY, old="unused")
    vault.put("apps/signer", key=pair().locked("open sesame\n"), password="open sesame\n")
    document = with_secret(
        settings(sandbox, **access(vault, authority)), [{"vault": {**REF["vault"], "path": "to-come"}}, REF]
    )
    document["state"] = {
        "path": str(tmp_path / "state.db"),
        "keys": [{"vault": {"path": "apps/store", "field": "key"}}],
    }
    file = written(tmp_path, document)
    ended = await run("check", "-c", file)
    assert (ended.status, ended.err) == (0, "")
    assert not vault.requested, "`check` without --live makes no request"
    ended = await run("check", "--live", "-c", file)
    assert "ok   credential app: a token with a lifetime of" in ended.out, ended.out + ended.err
    async with gateway(file) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        assert (await gate.ask("/readyz"))[1]["state"] == "ready"
    output = gate.output_text() + ended.out
    for secret in (SECRETS["APP_SECRET"], SECRET_ID, KEY, "hvs."):
        assert secret not in output


@pytest.mark.parametrize(
    "auth",
    [
        {"kubernetes": {"role": "gateway", "jwt": {"file": "jwt"}}},
        {"token": {"env": "TOKEN_OF_VAULT"}},
    ],
)
async def test_other_logins_are_used(
    tmp_path: Path, sandbox: Sandbox, vault: FakeHashiCorpVault, authority: Authority, auth: Settings
) -> None:
    document = with_secret(settings(sandbox, **access(vault, authority, auth=auth)), REF)
    ended = await run("token", "-c", written(tmp_path, document), TOKEN_OF_VAULT=ROOT)
    assert ended.status == 0, ended.err


async def test_variables_of_vault_count_without_keys(
    tmp_path: Path, sandbox: Sandbox, vault: FakeHashiCorpVault, authority: Authority
) -> None:
    vault.put("apps/orders", namespace="integration", client_secret=SECRETS["APP_SECRET"])
    variables = {
        "VAULT_ADDR": vault.url,
        "VAULT_TOKEN": ROOT,
        "VAULT_NAMESPACE": "integration/",
        "VAULT_CACERT": str(authority.ca),
    }
    file = written(tmp_path, with_secret(settings(sandbox), REF))
    ended = await run("token", "-c", file, **variables)
    assert ended.status == 0, ended.err
    assert vault.fields[-1]["x-vault-namespace"] == "integration/"


async def test_requests_pass_the_egress_proxy(
    tmp_path: Path, sandbox: Sandbox, vault: FakeHashiCorpVault, authority: Authority
) -> None:
    async with Egress() as egress:
        document = with_secret(settings(sandbox, **access(vault, authority, proxy={"url": egress.url})), REF)
        ended = await run("token", "-c", written(tmp_path, document))
    assert ended.status == 0, ended.err
    assert {head.split()[1].decode() for head in egress.heads} == {vault.url.removeprefix("https://")}


async def test_new_version_is_used_after_a_refusal(
    tmp_path: Path, vault: FakeHashiCorpVault, authority: Authority
) -> None:
    vault.put("apps/orders", client_secret="old-secret")
    async with Identity(refusal("invalid_client", 401)) as identity, Upstream() as upstream:
        document = with_secret(simple(identity.url, upstream.url, **access(vault, authority, refresh="1ms")), REF)
        document["credentials"]["app"]["client_auth"] = "post"
        async with gateway(written(tmp_path, document)) as gate:
            assert (await gate.get("/orders/"))[0] == 502
            vault.put("apps/orders", client_secret="new-secret")

            async def is_served() -> bool:
                return (await gate.get("/orders/"))[0] == 200

            await wait_until(is_served)
    assert [request.form["client_secret"] for request in identity.requests] == [["old-secret"], ["new-secret"]]


async def test_refused_secret_is_reported_by_name(
    tmp_path: Path, vault: FakeHashiCorpVault, authority: Authority
) -> None:
    vault.denied.add("secret/data/apps/orders")
    async with Identity() as identity, Upstream() as upstream:
        file = written(tmp_path, with_secret(simple(identity.url, upstream.url, **access(vault, authority)), REF))
        ended = await run("check", "--live", "-c", file)
        async with gateway(file) as gate:
            assert (await gate.get("/orders/"))[0] == 503
            _, ready = await gate.ask("/readyz")
    message = f"{NAME} is refused (403 1 error occurred: * permission denied); give the token a policy"
    assert ended.status == 69
    assert f"FAIL credential app: secret: {message}" in ended.out
    assert message in ready["credentials"]["app"]["error"]
    assert not identity.requests


async def test_sealed_vault_stops_a_start_that_needs_it(
    tmp_path: Path, vault: FakeHashiCorpVault, authority: Authority
) -> None:
    vault.is_sealed = True
    state = {"path": str(tmp_path / "state.db"), "keys": [{"vault": {"path": "apps/store", "field": "key"}}]}
    document = simple("https://idcs.example/token", "https://oic.example/", state=state, **access(vault, authority))
    async with Process("serve", "-c", written(tmp_path, document), **SECRETS) as gate:
        [line] = await gate.wait_for_events("not-started")
        assert await gate.ended() == 69
    assert "of Vault is not available now (503 Vault is sealed); unseal the server" in line["message"]


async def test_changed_access_applies_after_a_reload(
    tmp_path: Path, sandbox: Sandbox, vault: FakeHashiCorpVault, authority: Authority
) -> None:
    document = with_secret(settings(sandbox, **access(vault, authority, mount="wrong")), REF)
    async with gateway(written(tmp_path, document)) as gate:
        assert (await gate.get("/orders/"))[0] == 503
        written(tmp_path, document | access(vault, authority))
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        assert (await gate.get("/orders/"))[0] == 200


async def test_rotate_refuses_a_secret_of_vault(
    tmp_path: Path, sandbox: Sandbox, vault: FakeHashiCorpVault, authority: Authority
) -> None:
    document = with_secret(settings(sandbox, **access(vault, authority)), REF)
    ended = await run("rotate", "-c", written(tmp_path, document), "app")
    assert ended.status == 78
    assert "the client secret of credential app is given by `vault`, which cannot be written" in ended.err
    assert not vault.requested


REMOTE = {"url": "http://vault.corp:8200", "auth": {"token": {"env": "APP_SECRET"}}}


@pytest.mark.parametrize(
    ("settings_of_vault", "secret", "variables", "expected"),
    [
        ({}, REF, {}, "client_secret.vault: needs the URL of Vault; set `vault.url`, or the variable VAULT_ADDR"),
        ({}, REF, {"VAULT_ADDR": ""}, "client_secret.vault: needs a login to Vault; set `vault.auth`, or the variable"),
        ({}, REF, {"VAULT_ADDR": "vault:8200"}, "client_secret.vault: needs VAULT_ADDR, which is not the URL of a"),
        ({}, REF, {"VAULT_ADDR": "http://vault.corp", "VAULT_TOKEN": "a"}, "is sent unencrypted: VAULT_ADDR is http"),
        (REMOTE, REF, {}, "vault.url: sends secrets unencrypted; use https, or set `vault.insecure: true`"),
        (REMOTE | {"url": "https://a/?b"}, REF, {}, "vault.url: "),
        (REMOTE | {"auth": {}}, REF, {}, "vault.auth: needs exactly one of `token`, `approle` and `kubernetes`"),
        (REMOTE | {"auth": {"token": REF}}, REF, {}, "vault.auth.token.vault: is in Vault itself, which it opens"),
        (REMOTE | {"auth": {"token": {"file": "absent"}}}, REF, {}, "vault.auth.token.file: the secret file"),
        (REMOTE | {"auth": {"token": "hvs.a"}}, REF, {}, "vault.auth.token: a secret must not be in the file"),
        (REMOTE | {"mount": "/secret/"}, REF, {}, "vault.mount: is not a path in Vault; write it like apps/orders"),
        (REMOTE, {"vault": "apps/orders"}, {}, "client_secret.vault: must be a mapping"),
        (REMOTE, {"vault": {"path": "a/../b", "field": "c"}}, {}, "client_secret.vault.path: has a `.` or `..`"),
        (REMOTE, {"vault": {"path": "a", "key": "c"}}, {}, "client_secret.vault.key: is not a known key"),
    ],
)
async def test_mistake_in_the_access_is_reported(
    tmp_path: Path, settings_of_vault: Settings, secret: Settings, variables: dict[str, str], expected: str
) -> None:
    document = simple("https://idcs.example/token", "https://oic.example/", vault=settings_of_vault)
    ended = await run("check", "-c", written(tmp_path, with_secret(document, secret)), **SECRETS, **variables)
    assert ended.status == 78
    assert expected in ended.err
    assert "hvs.a" not in ended.err


async def test_names_of_the_user_are_no_references(tmp_path: Path, sandbox: Sandbox) -> None:
    """A credential may have the name of a kind of reference."""
    document = settings(sandbox)
    document["credentials"]["vault"] = document["credentials"]["oci_vault"] = document["credentials"]["app"]
    ended = await run("check", "-c", written(tmp_path, document), **SECRETS)
    assert ended.status == 0, ended.err
