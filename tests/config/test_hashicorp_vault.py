"""Secrets of HashiCorp Vault, read over real sockets from a server with tokens, leases, versions and faults."""

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hvac
import pytest

from gateway.config.hashicorp_vault import LOGIN_INTERVAL, MAX_RESPONSE, HashiCorpVault
from gateway.config.issue import SecretProblem
from gateway.config.secret_cache import RETRY_INTERVAL
from gateway.config.secrets import SecretReader
from gateway.config.strict_model import SecretRef, VaultRef
from gateway.config.vault_model import VaultSettings
from tests.fakes.authority import Authority
from tests.fakes.hashicorp_vault import JWT, ROLE_ID, ROOT, SECRET_ID, FakeHashiCorpVault

REFRESH = 300.0
WRITTEN = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC).timestamp()
REF = VaultRef(path="apps/orders", field="client_secret")
NAME = "the field `client_secret` of the secret `secret/apps/orders` of Vault"
APPROLE = {"approle": {"role_id": ROLE_ID, "secret_id": {"env": "SECRET_ID"}}}
KUBERNETES = {"kubernetes": {"role": "gateway", "jwt": {"env": "JWT"}}}
TOKEN = {"token": {"env": "TOKEN"}}

Open = Callable[..., HashiCorpVault]


class TurnedClock:
    """A clock that tests turn, together with that of the server."""

    def __init__(self, server: FakeHashiCorpVault) -> None:
        self._server = server
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds
        self._server.now += seconds


@pytest.fixture
def server() -> Iterator[FakeHashiCorpVault]:
    with FakeHashiCorpVault() as made:
        made.put("apps/orders", client_secret="hunter2")
        yield made


@pytest.fixture
def clock(server: FakeHashiCorpVault) -> TurnedClock:
    return TurnedClock(server)


@pytest.fixture
def environ() -> dict[str, str]:
    return {"TOKEN": ROOT, "SECRET_ID": SECRET_ID, "JWT": JWT}


@pytest.fixture
def connect(server: FakeHashiCorpVault, clock: TurnedClock, environ: dict[str, str]) -> Open:
    def make(auth: object = TOKEN, **more: object) -> HashiCorpVault:
        settings = VaultSettings.model_validate({"url": server.url, "auth": auth, **more})
        secrets = SecretReader(environ)
        return HashiCorpVault(
            settings,
            read_reference=lambda ref: secrets.read(ref).get_secret_value(),
            tls=ssl.create_default_context,
            now=clock,
        )

    return make


def refused(vault: HashiCorpVault, ref: VaultRef = REF) -> str:
    with pytest.raises(SecretProblem) as problem:
        vault.read(ref)
    assert problem.value.__cause__ is None
    text = str(problem.value)
    for secret in ("hunter2", ROOT, SECRET_ID, JWT, "hvs."):
        assert secret not in text
    assert text.isprintable()
    return text


def test_secret_is_read_and_cached(server: FakeHashiCorpVault, connect: Open, clock: TurnedClock) -> None:
    vault = connect()
    for _ in range(3):
        assert (vault.read(REF), vault.version(REF)) == (b"hunter2", 1)
        clock.turn(REFRESH / 4)
    assert server.requested == ["GET /v1/auth/token/lookup-self", "GET /v1/secret/data/apps/orders"]
    sent = server.fields[-1]
    assert (sent["x-vault-token"], sent["x-vault-request"]) == (ROOT, "true")
    assert "x-vault-namespace" not in sent
    assert vault.written_at(REF) == WRITTEN
    assert SecretReader({}, stores={"vault": vault}).changed_at([[SecretRef(vault=REF)]]) == WRITTEN
    server.put("apps/orders", client_secret="another")
    clock.turn(REFRESH / 4)
    assert (vault.read(REF), vault.version(REF)) == (b"another", 2)


def test_expired_secret_is_read_again_at_most_per_interval(
    server: FakeHashiCorpVault, connect: Open, clock: TurnedClock
) -> None:
    vault = connect()
    assert vault.version(REF) == 1
    server.put("apps/orders", client_secret="new")
    vault.expire(REF)
    clock.turn(RETRY_INTERVAL - 1)
    assert vault.version(REF) == 1
    clock.turn(1)
    assert (vault.version(REF), vault.read(REF)) == (2, b"new")


@pytest.mark.parametrize(("auth", "mount"), [(APPROLE, "approle"), (KUBERNETES, "kubernetes")])
def test_login_token_is_replaced_after_half_of_its_lease(
    server: FakeHashiCorpVault, connect: Open, clock: TurnedClock, auth: object, mount: str
) -> None:
    vault = connect(auth, refresh="1ms")
    for _ in range(3):
        assert vault.read(REF) == b"hunter2"
        clock.turn(100)
    assert server.count(f"POST /v1/auth/{mount}/login") == 1
    clock.turn(server.lease / 2)
    assert vault.read(REF) == b"hunter2"
    assert server.count(f"auth/{mount}/login") == 2
    assert server.count("lookup-self") == 0, "the lease is known"


def test_other_mount_of_the_auth_method_is_used(server: FakeHashiCorpVault, connect: Open) -> None:
    auth = {"approle": {**APPROLE["approle"], "mount": "team/approle"}}
    assert "refuses the login by `approle` (403 permission denied)" in refused(connect(auth))
    assert server.requested == ["POST /v1/auth/team/approle/login"]


def test_revoked_token_is_replaced_by_another_login(
    server: FakeHashiCorpVault, connect: Open, clock: TurnedClock
) -> None:
    vault = connect(APPROLE, refresh="1ms")
    assert vault.read(REF) == b"hunter2"
    server.tokens.clear()
    clock.turn(1)
    assert vault.read(REF) == b"hunter2"
    assert server.count("approle/login") == 2


def test_missing_policy_causes_no_further_login(server: FakeHashiCorpVault, connect: Open, clock: TurnedClock) -> None:
    vault = connect(APPROLE, refresh="1ms")
    assert vault.read(REF) == b"hunter2"
    server.denied.add("secret/data/apps/orders")
    for _ in range(3):
        clock.turn(RETRY_INTERVAL)
        assert refused(vault) == (
            f"{NAME} is refused (403 1 error occurred: * permission denied); give the token a policy with "
            '`path "secret/data/apps/orders" { capabilities = ["read"] }`'
        )
    assert server.count("approle/login") == 1
    assert vault.version(REF) is None, "the refused copy is dropped"


def test_refused_login_is_not_repeated_with_the_same_secret(
    server: FakeHashiCorpVault, connect: Open, clock: TurnedClock, environ: dict[str, str]
) -> None:
    environ["SECRET_ID"] = "used-up-secret-id"
    vault = connect(APPROLE)
    expected = (
        f"{NAME} cannot be read: Vault refuses the login by `approle` (400 invalid role or secret ID); check "
        "`vault.auth.approle`: the role, and that the SecretID has not expired and may still be used"
    )
    for _ in range(3):
        assert refused(vault) == expected
        clock.turn(RETRY_INTERVAL)
    assert server.count("login") == 1
    clock.turn(LOGIN_INTERVAL)
    assert refused(vault) == expected
    assert server.count("login") == 2
    environ["SECRET_ID"] = SECRET_ID
    clock.turn(RETRY_INTERVAL)
    assert vault.read(REF) == b"hunter2"


def test_refused_login_counts_for_all_secrets(server: FakeHashiCorpVault, connect: Open) -> None:
    vault = connect({"kubernetes": {"role": "stranger", "jwt": {"env": "JWT"}}})
    message = 'refuses the login by `kubernetes` (400 invalid role name "stranger")'
    assert message in refused(vault)
    assert message in refused(vault, VaultRef(path="other", field="a"))
    assert server.requested == ["POST /v1/auth/kubernetes/login"]


def test_renewable_token_is_renewed_after_half_of_its_lifetime(
    server: FakeHashiCorpVault, connect: Open, clock: TurnedClock, environ: dict[str, str]
) -> None:
    environ["TOKEN"] = server.issue(3600, is_renewable=True, period=7200)
    vault = connect(refresh="1ms")
    for _ in range(8):
        assert vault.read(REF) == b"hunter2"
        clock.turn(1800)
    assert server.count("renew-self") == 4


def test_token_that_cannot_be_renewed_is_used_to_its_end(
    server: FakeHashiCorpVault, connect: Open, clock: TurnedClock, environ: dict[str, str]
) -> None:
    environ["TOKEN"] = server.issue(3600)
    vault = connect(refresh="1ms")
    for _ in range(3):
        assert vault.read(REF) == b"hunter2"
        clock.turn(1000)
    clock.turn(1000)
    message = refused(vault)
    assert "Vault refuses the login by `token` (403 2 errors occurred: * permission denied * invalid token)" in message
    assert message.endswith("store a valid token, whose policies allow the secrets, for `vault.auth.token`")
    environ["TOKEN"] = ROOT
    clock.turn(RETRY_INTERVAL)
    assert vault.read(REF) == b"hunter2", "a new token is used at once"
    assert server.count("renew-self") == 0


def test_token_without_the_default_policy_is_used(
    server: FakeHashiCorpVault, connect: Open, environ: dict[str, str]
) -> None:
    environ["TOKEN"] = server.issue(3600, has_default_policy=False)
    assert connect().read(REF) == b"hunter2"


def test_missing_login_secret_is_named(server: FakeHashiCorpVault, connect: Open) -> None:
    message = refused(connect({"token": {"env": "ABSENT"}}))
    assert message == f"{NAME} cannot be read: the environment variable `ABSENT` is not set; set it to the secret"
    assert server.requested == []


def test_namespace_and_mount_are_sent(server: FakeHashiCorpVault, connect: Open) -> None:
    server.mounts["kv-apps"] = "kv2"
    server.put("a b/ü", mount="kv-apps", namespace="integration", x="there")
    vault = connect(namespace="integration/", mount="kv-apps")
    assert vault.read(VaultRef(path="a b/ü", field="x")) == b"there"
    assert server.requested[-1] == "GET /v1/kv-apps/data/a%20b/%C3%BC"
    server.put("other", namespace="integration", x="here")
    assert vault.read(VaultRef(path="other", field="x", mount="secret")) == b"here"


@pytest.mark.parametrize("value", ["hunter2\n", " hunter2 ", "höhle", "-----BEGIN KEY-----\nabc\n"])
def test_value_is_returned_as_it_is(server: FakeHashiCorpVault, connect: Open, value: str) -> None:
    server.put("apps/orders", client_secret=value)
    secrets = SecretReader({}, stores={"vault": connect()})
    assert secrets.read(SecretRef(vault=REF)).get_secret_value() == value


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({"secret": "hunter2", "id": "x"}, "does not have this field; its fields are id, secret; correct `field`"),
        ({}, "does not have this field; its fields are none; correct `field`"),
        ({"client_secret": 12}, "is not a string; store it as a JSON string"),
        ({"client_secret": {"a": "hunter2"}}, "is not a string; store it as a JSON string"),
        ({"client_secret": None}, "is not a string; store it as a JSON string"),
        ({"client_secret": " \n"}, "is empty; store the secret in it"),
    ],
)
def test_unusable_field_is_reported(server: FakeHashiCorpVault, connect: Open, data: dict[str, Any], what: str) -> None:
    server.put("apps/orders", **data)
    assert refused(connect()) == f"{NAME} {what}"


@pytest.mark.parametrize("state", ["deleted", "destroyed"])
def test_deleted_version_is_reported_and_dropped(
    server: FakeHashiCorpVault, connect: Open, clock: TurnedClock, state: str
) -> None:
    vault = connect(refresh="1ms")
    assert vault.read(REF) == b"hunter2"
    server.put("apps/orders", client_secret="next")
    server.secrets["", "secret", "apps/orders"][-1].state = state
    clock.turn(1)
    assert refused(vault) == (
        f"{NAME} has no value: its current version 2 is {state}; store a new version, or restore this one with "
        "`vault kv undelete`"
    )


def test_missing_secret_names_the_path_as_the_command_takes_it(connect: Open) -> None:
    message = refused(connect(), VaultRef(path="data/apps/orders", field="client_secret"))
    assert "does not exist (404)" in message
    assert "`vault kv get -mount=secret PATH` takes the same ones, without `data/`" in message


def test_mount_of_version_1_is_reported(connect: Open) -> None:
    message = refused(connect(mount="old"))
    assert "is not a secret of the KV engine, version 2; name a mount of version 2" in message


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ((503, {}, b'{"errors":["Vault is sealed"]}'), "is not available now (503 Vault is sealed); unseal the server"),
        (
            (429, {}, b'{"errors":["rate limit quota exceeded"]}'),
            "is not available now (429 rate limit quota exceeded)",
        ),
        ((473, {}, b""), "is not available now (473); the gateway retries"),
        (
            (500, {}, b'{"errors":[7, "local node not active\\u0007"]}'),
            "is not available now (500 local node not active",
        ),
        ((200, {}, b"<html>hunter2</html>"), "the response (200) is not one of Vault's API; check that `vault.url`"),
        ((200, {}, b"[" * 100_000), "the response (200) is not one of Vault's API"),
        ((200, {}, b"x" * (MAX_RESPONSE + 1)), "cannot be read: the answer is longer than 2048 KiB"),
        (
            (307, {"Location": "https://active.corp:8200/v1/secret/data/x"}, b""),
            "the server redirects to active.corp:8200 (307), which the gateway does not follow; set `vault.url` to",
        ),
    ],
)
def test_cached_copy_survives_an_outage(
    server: FakeHashiCorpVault,
    connect: Open,
    clock: TurnedClock,
    answer: tuple[int, dict[str, str], bytes],
    what: str,
) -> None:
    vault = connect(refresh="1ms")
    assert vault.read(REF) == b"hunter2"
    server.answer = answer
    clock.turn(1)
    before = len(server.requested)
    assert vault.read(REF) == b"hunter2"
    assert what in refused(vault, VaultRef(path="other", field="a"))
    assert len(server.requested) == before + 1, "after a failure Vault is not called for a while"
    server.answer = None
    server.put("apps/orders", client_secret="new")
    clock.turn(RETRY_INTERVAL)
    assert vault.read(REF) == b"new"


def test_sealed_server_is_reported_at_the_login(server: FakeHashiCorpVault, connect: Open) -> None:
    server.is_sealed = True
    assert "is not available now (503 Vault is sealed); unseal the server; the gateway retries" in refused(
        connect(APPROLE)
    )


def test_quoted_token_is_not_shown(server: FakeHashiCorpVault, connect: Open) -> None:
    server.answer = 400, {}, f'{{"errors":["bad token {ROOT}"]}}'.encode()
    assert "is refused (400 bad token ***); correct `vault` and the reference" in refused(connect())


def test_slow_server_is_given_up(server: FakeHashiCorpVault, connect: Open) -> None:
    server.pause.clear()
    assert "is not available now (no answer within 0.2 s)" in refused(connect(timeout="200ms"))


def test_unreachable_server_is_reported(connect: Open, closed_port: int) -> None:
    message = refused(connect(url=f"http://127.0.0.1:{closed_port}"))
    assert "cannot be read: no connection (" in message
    assert message.endswith("check `vault.url` and the network path to Vault")


def test_tls_is_verified_with_the_authority_of_the_server(tmp_path: Path, environ: dict[str, str]) -> None:
    authority = Authority(tmp_path)
    with FakeHashiCorpVault(authority.server()) as server:
        server.put("apps/orders", client_secret="hunter2")
        settings = VaultSettings.model_validate({"url": server.url, "auth": TOKEN})
        secrets = SecretReader(environ)

        def vault(ca: Path | None) -> HashiCorpVault:
            return HashiCorpVault(
                settings,
                read_reference=lambda ref: secrets.read(ref).get_secret_value(),
                tls=lambda: ssl.create_default_context(cafile=ca),
            )

        assert "cannot be read: the certificate is not trusted (" in refused(vault(None))
        assert vault(authority.ca).read(REF) == b"hunter2"


def test_concurrent_reads_make_one_request(server: FakeHashiCorpVault, connect: Open) -> None:
    vault, found = connect(), list[bytes]()
    threads = [threading.Thread(target=lambda: found.append(vault.read(REF))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"hunter2"] * 8
    assert server.count("secret/data") == 1


def test_repr_does_not_show_secrets(connect: Open) -> None:
    vault = connect(APPROLE)
    vault.read(REF)
    for secret in ("hunter2", "hvs.", SECRET_ID):
        assert secret not in repr(vars(vault))


def test_a_foreign_client_reads_and_writes_the_server(server: FakeHashiCorpVault, connect: Open) -> None:
    """Vault's usual client for Python agrees with the server of these tests about the API."""
    client = hvac.Client(url=server.url)
    client.auth.approle.login(role_id=ROLE_ID, secret_id=SECRET_ID)
    assert client.is_authenticated()
    client.auth.token.renew_self()
    found = client.secrets.kv.v2.read_secret_version("apps/orders", raise_on_deleted_version=True)
    assert found["data"]["data"] == {"client_secret": "hunter2"}
    client.secrets.kv.v2.create_or_update_secret("apps/orders", {"client_secret": "written"}, cas=1)
    assert connect().read(REF) == b"written"
    with pytest.raises(hvac.exceptions.InvalidRequest, match="check-and-set parameter did not match"):
        client.secrets.kv.v2.create_or_update_secret("apps/orders", {"client_secret": "late"}, cas=1)
    with pytest.raises(hvac.exceptions.InvalidPath):
        client.secrets.kv.v2.read_secret_version("absent", raise_on_deleted_version=True)
    client.auth.kubernetes.login(role="gateway", jwt=JWT)
    assert client.is_authenticated()
    server.is_sealed = True
    with pytest.raises(hvac.exceptions.VaultDown, match="Vault is sealed"):
        client.secrets.kv.v2.read_secret_version("apps/orders", raise_on_deleted_version=True)
