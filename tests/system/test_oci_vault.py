"""Secrets of OCI Vault in the real process: in every key that takes a secret, and errors at once if unavailable."""

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.sandbox import RegisteredClient, Sandbox, User
from tests.fakes.egress import Egress
from tests.fakes.identity import Identity
from tests.fakes.keys import pair
from tests.fakes.oci_vault import FakeOciVault, ocid, profile
from tests.fakes.process import Process, gateway, run
from tests.fakes.redis import RedisServer
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, Settings, settings, simple, written

KEY = "0123456789abcdef" * 4
BASIC = "Proxy-Authorization: Basic Z2F0ZTpvdXQtb2YtaGVyZQ=="  # gate:out-of-here
GRANTS = frozenset({"client_credentials", "password", "refresh_token"})
TRACED = {"PYTHONPROFILEIMPORTTIME": "1"}


@pytest.fixture
def oci() -> Iterator[FakeOciVault]:
    with FakeOciVault() as made:
        yield made


@pytest.fixture
def known(tmp_path: Path) -> dict[str, str]:
    """The environment of a gateway that OCI knows."""
    return profile(tmp_path)


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as made:
        yield made


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """Speaks TLS and asks for a client certificate."""
    server = pair(name="server")
    (tmp_path / "server.pem").write_text(server.key + server.certificate, encoding="ascii")
    (tmp_path / "ca.pem").write_text(server.certificate, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=pair().certificate)
    clients = {"app": RegisteredClient(secret="s3cret", certificates={"alias": pair().certificate}, grants=GRANTS)}
    async with Sandbox(clients=clients, users={"kim": User(password="p&=w")}, ssl_context=context) as made:
        yield made


def at(oci: FakeOciVault, **more: str) -> Settings:
    return {"oci": {"auth": "config_file", "endpoint": oci.url, **more}}


def everywhere(folder: Path, sandbox: Sandbox, oci: FakeOciVault, egress: Egress, redis: RedisServer) -> Settings:
    """A configuration whose every secret is in the Vault."""
    (folder / "cert.pem").write_text(pair().certificate, encoding="ascii")
    (folder / "locked.pem").write_text(pair().locked("open sesame"), encoding="ascii")
    (folder / "locked.pem").chmod(0o600)

    def vault_entry(name: str, secret: str) -> dict[str, str]:
        return {"oci_vault": oci.store_secret(name, secret)}

    proxy = {"url": egress.url, "username": "gate", "password": vault_entry("proxy", "out-of-here")}
    one = {"token_url": sandbox.token_url, "client_id": "app", "scope": sandbox.scope, "tls": {"ca": "ca.pem"}}
    secret = vault_entry("secret", "s3cret\n")
    entry = vault_entry("sesame", "open sesame")
    signing = {"private_key": vault_entry("key", pair().locked("open sesame")), "key_password": entry, "kid": "alias"}
    certificate = {"ca": "ca.pem", "cert": "cert.pem", "key": "locked.pem", "key_password": entry}
    refresh_token = vault_entry("refresh", sandbox.mint_refresh("app"))
    credentials: dict[str, Settings] = {
        "several": {"client_secret": [{"oci_vault": ocid("to-come")}, secret], "proxy": proxy},
        "signed": {"client_auth": "private_key_jwt", "signing": signing},
        "shown": {"client_secret": secret, "tls": certificate},
        "user": {
            "grant": "password",
            "username": "kim",
            "password": vault_entry("kim", "p&=w"),
            "client_secret": secret,
        },
        "given": {"grant": "refresh_token", "refresh_token": refresh_token, "client_secret": secret},
    }
    upstream = sandbox.upstream("ORDERS")
    routes = [{"name": name, "path": f"/{name}/", "upstream": upstream, "credential": name} for name in credentials]
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "state": {
            "redis": {"url": redis.url, "password": vault_entry("redis", "r3dis")},
            "keys": [vault_entry("state", KEY)],
            "timeout": "5s",
        },
        "credentials": {name: {**one, **own} for name, own in credentials.items()},
        "defaults": {"tls": {"ca": "ca.pem"}, "proxy": proxy},
        "routes": routes,
        **at(oci),
    }


async def test_every_secret_may_be_in_the_vault(
    tmp_path: Path, sandbox: Sandbox, oci: FakeOciVault, egress: Egress, known: dict[str, str]
) -> None:
    async with RedisServer("requirepass r3dis") as redis:
        document = everywhere(tmp_path, sandbox, oci, egress, redis)
        file = written(tmp_path, document)
        ended = await run("check", "-c", file, **known, **TRACED)
        assert ended.status == 0, ended.err[-2000:]
        assert not oci.requested, "`check` without --live makes no request"
        assert "| oci" not in ended.err.replace("  ", " ")
        ended = await run("check", "--live", "-c", file, **known)
        assert (ended.status, ended.err) == (0, ""), ended.out
        for name in document["credentials"]:
            assert f"ok   credential {name}: a token with a lifetime of" in ended.out
        assert "FAIL" not in ended.out
        async with gateway(file, **known) as gate:
            for name in document["credentials"]:
                assert (await gate.get(f"/{name}/"))[0] == 200
            assert (await gate.ask("/readyz"))[1]["state"] == "ready"
    assert egress.heads
    assert all(BASIC.encode() in head for head in egress.heads)
    output = gate.output_text() + ended.out
    for secret in ("s3cret", "open sesame", "p&=w", "r3dis", "out-of-here", KEY):
        assert secret not in output


def simplest(oci: FakeOciVault, identity: Identity, upstream: Upstream, **more: object) -> Settings:
    document = simple(identity.url, upstream.url, **at(oci, refresh="1ms")) | more
    document["credentials"]["app"]["client_secret"] = {"oci_vault": ocid("secret")}
    return document


async def test_a_changed_secret_is_used_without_a_restart(
    tmp_path: Path, oci: FakeOciVault, known: dict[str, str]
) -> None:
    oci.store_secret("secret", "old")
    async with Identity() as identity, Upstream() as upstream:
        document = simplest(oci, identity, upstream)
        document["credentials"]["app"] |= {"client_auth": "post"}
        async with gateway(written(tmp_path, document), **known) as gate:
            assert (await gate.get("/orders/"))[0] == 200
            oci.store_secret("secret", "new")
            document["credentials"]["app"] |= {"scope": "another"}
            written(tmp_path, document)
            gate.signal(signal.SIGHUP)
            await gate.wait_for_events("reloaded")
            assert (await gate.get("/orders/"))[0] == 200
    assert [request.form["client_secret"] for request in identity.requests] == [["old"], ["new"]]


async def test_changed_oci_settings_apply_to_all_credentials(
    tmp_path: Path, oci: FakeOciVault, known: dict[str, str]
) -> None:
    oci.store_secret("secret", "hunter2")
    async with Identity() as identity, Upstream() as upstream:
        document = simplest(oci, identity, upstream)
        document["oci"]["profile"] = "NOBODY"
        async with gateway(written(tmp_path, document), **known) as gate:
            assert (await gate.get("/orders/"))[0] == 503
            written(tmp_path, document | at(oci))
            gate.signal(signal.SIGHUP)
            await gate.wait_for_events("reloaded")
            assert (await gate.get("/orders/"))[0] == 200


async def test_a_refused_secret_is_reported_by_name(tmp_path: Path, oci: FakeOciVault, known: dict[str, str]) -> None:
    async with Identity() as identity, Upstream() as upstream:
        file = written(tmp_path, simplest(oci, identity, upstream))
        ended = await run("check", "--live", "-c", file, **known)
        async with gateway(file, **known) as gate:
            assert (await gate.get("/orders/"))[0] == 503
            _, ready = await gate.ask("/readyz")
    message = f"the secret `{ocid('secret')}` of OCI Vault is refused (404 NotAuthorizedOrNotFound); add a policy"
    assert ended.status == 69
    assert f"FAIL credential app: secret: {message}" in ended.out
    assert "`read secret-bundles`, or correct the OCID" in ended.out
    assert message in ready["credentials"]["app"]["error"]
    assert not identity.requests


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_missing_state_key_stops_the_start(
    tmp_path: Path, oci: FakeOciVault, known: dict[str, str], workers: int
) -> None:
    async with Identity() as identity, Upstream() as upstream:
        state = {"path": str(tmp_path / "state.db"), "keys": [{"oci_vault": ocid("state")}]}
        file = written(tmp_path, simplest(oci, identity, upstream, state=state, workers=workers))
        async with Process("serve", "-c", file, **known) as gate:
            [line] = await gate.wait_for_events("not-started")
            assert await gate.ended() == 69
        for verb in (("check", "--live"), ("token",)):
            ended = await run(*verb, "-c", file, *(["app"] if verb == ("token",) else []), **known)
            assert ended.status == 69
            assert ended.err.startswith(f"the secret `{ocid('state')}` of OCI Vault is refused (404 ")
            assert "Traceback" not in ended.err
        document = json.loads((await run("check", "--live", "--json", "-c", file, **known)).out)
        assert [(row["ok"], row["code"]) for row in document["findings"]] == [(False, "secret")]
    assert f"the secret `{ocid('state')}` of OCI Vault is refused (404 " in line["message"]
    assert "Traceback" not in gate.output_text()
    assert not gate.events("log")


async def test_a_reload_waits_for_the_vault_without_blocking_calls(
    tmp_path: Path, oci: FakeOciVault, known: dict[str, str]
) -> None:
    async with Identity() as identity, Upstream() as upstream:
        oci.store_secret("secret", "hunter2")
        document = simplest(oci, identity, upstream)
        async with gateway(written(tmp_path, document), **known) as gate:
            assert (await gate.get("/orders/"))[0] == 200
            proxy = {"url": "http://127.0.0.1:1", "username": "gate", "password": {"oci_vault": ocid("proxy")}}
            written(tmp_path, document | {"defaults": {"proxy": proxy}})
            gate.signal(signal.SIGHUP)
            [line] = await gate.wait_for_events("reload-refused")
            assert f"the secret `{ocid('proxy')}` of OCI Vault is refused" in line["message"]
            assert (await gate.get("/orders/"))[0] == 200
            oci.store_secret("proxy", "out-of-here")
            oci.pause.clear()
            written(tmp_path, document | {"defaults": {"proxy": proxy}, **at(oci)})
            gate.signal(signal.SIGHUP)
            await asyncio.to_thread(oci.paused.wait, TIME_LIMIT)
            assert (await gate.get("/orders/"))[0] == 200
            oci.pause.set()
            await gate.wait_for_events("reloaded")


async def test_a_hanging_vault_affects_only_its_credentials(
    tmp_path: Path, oci: FakeOciVault, known: dict[str, str]
) -> None:
    oci.trickles = True
    async with Identity() as identity, Upstream() as upstream:
        document = simplest(oci, identity, upstream)
        [app], [route] = document["credentials"].values(), document["routes"]
        (tmp_path / "secret").write_text("hunter2", encoding="ascii")
        for n in range(40):
            name = f"file{n}" if n < 8 else f"vault{n}"
            ref = {"file": str(tmp_path / "secret")} if n < 8 else {"oci_vault": ocid(name)}
            document["credentials"][name] = app | {"client_secret": ref, "prefetch": n >= 8, "params": {"n": name}}
            document["routes"].append(route | {"name": name, "path": f"/{name}/", "credential": name})
        async with gateway(written(tmp_path, document), **known) as gate, asyncio.timeout(TIME_LIMIT):
            assert await asyncio.to_thread(oci.paused.wait, TIME_LIMIT)
            for n in range(8):
                assert (await gate.get(f"/file{n}/"))[0] == 200
            gate.signal(signal.SIGHUP)
            await gate.wait_for_events("reloaded")
            gate.signal(signal.SIGTERM)  # a stop does not wait for the Vault
            assert await gate.ended() == 0
        assert len(oci.requested) == 1


@pytest.mark.parametrize("verb", ["check", "serve"])
async def test_a_missing_oci_package_is_reported_with_the_remedy(
    tmp_path: Path, sandbox: Sandbox, oci: FakeOciVault, verb: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['oci'] = None\n", encoding="ascii")
    document = settings(sandbox, **at(oci))
    document["credentials"]["app"]["client_secret"] = [{"oci_vault": ocid("new")}, {"oci_vault": ocid("old")}]
    ended = await run(verb, "-c", written(tmp_path, document), PYTHONPATH=str(tmp_path), **SECRETS)
    assert (ended.status, ended.out) == (78, "")
    [line] = ended.err.splitlines()
    assert ": credentials.app.client_secret[0].oci_vault: a secret of OCI Vault needs the package `oci`" in line
    assert line.endswith("which is not installed; run: pip install 'oic-gateway[oci]'")


@pytest.mark.parametrize(
    ("oci", "message"),
    [
        ({"profile": "GATEWAY"}, "oci: has a `profile`, which requires `auth: config_file`"),
        ({"auth": "principal"}, "oci.auth: is not an allowed value"),
        ({"refresh": 300}, "oci.refresh: needs a number with a unit"),
    ],
)
async def test_a_mistake_in_the_oci_settings_is_reported(tmp_path: Path, oci: Settings, message: str) -> None:
    document = simple("https://idcs.example/token", "https://oic.example/", oci=oci)
    ended = await run("check", "-c", written(tmp_path, document), **SECRETS)
    assert ended.status == 78
    assert message in ended.err


async def test_an_ocid_of_another_resource_is_reported(tmp_path: Path) -> None:
    document = simple("https://idcs.example/token", "https://oic.example/")
    document["credentials"]["app"]["client_secret"] = {"oci_vault": "ocid1.vault.oc1.phx.aaaa"}
    ended = await run("check", "-c", written(tmp_path, document), **SECRETS)
    assert "client_secret.oci_vault: is not the OCID of a secret; write it like ocid1.vaultsecret" in ended.err
