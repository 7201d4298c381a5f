"""Secrets of OCI Vault, read with Oracle's own client from a server that checks its signatures."""

import base64
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.config.issue import SecretProblem
from gateway.config.model import Oci
from gateway.config.secrets import Secrets
from gateway.config.strict_model import SecretRef
from gateway.config.vault import AGAIN, Vault
from tests.fakes.keys import pair
from tests.fakes.vault import FINGERPRINT, TENANCY, USER, FakeVault, Kept, ocid, profile

REFRESH = 300.0
TRADITIONAL = Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()


class Watch:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def oci() -> Iterator[FakeVault]:
    with FakeVault() as made:
        yield made


@pytest.fixture(autouse=True)
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in profile(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def now() -> Watch:
    return Watch()


@pytest.fixture
def vault(oci: FakeVault, now: Watch) -> Vault:
    return Vault(Oci(auth="config_file", endpoint=oci.url), now=now)


def refused(vault: Vault, name: str) -> str:
    with pytest.raises(SecretProblem) as problem:
        vault.read(ocid(name))
    assert ocid(name) in problem.value.what
    assert problem.value.__cause__ is None
    assert "hunter2" not in str(problem.value)
    return str(problem.value).replace(ocid(name), "OCID")


def test_a_secret_is_read_with_a_signed_request_and_kept_for_a_while(oci: FakeVault, vault: Vault, now: Watch) -> None:
    name = oci.keep("one", "hunter2")
    for _ in range(3):
        assert (vault.read(name), vault.version(name)) == (b"hunter2", 1)
        now.now += REFRESH / 4
    assert oci.asked == [name]
    assert oci.keys == [f"{TENANCY}/{USER}/{FINGERPRINT}"]
    oci.keep("one", "another")
    now.now += REFRESH / 4 - 1
    assert vault.read(name) == b"hunter2"
    now.now += 1
    assert (vault.read(name), vault.version(name)) == (b"another", 2)
    assert oci.asked == [name, name]


def test_a_secret_in_doubt_is_read_again_but_not_at_every_turn(oci: FakeVault, vault: Vault, now: Watch) -> None:
    name = oci.keep("one", "old")
    assert vault.version(name) == 1
    oci.keep("one", "new")
    vault.expire(name)
    now.now += AGAIN - 1
    assert vault.version(name) == 1
    now.now += 1
    assert (vault.version(name), vault.read(name)) == (2, b"new")
    vault.expire(ocid("never-read"))
    assert oci.asked == [name, name]


def test_a_secret_that_is_refused_is_named_with_the_policy_and_is_gone(
    oci: FakeVault, vault: Vault, now: Watch
) -> None:
    expected = (
        "the secret `OCID` of OCI Vault is refused (404 NotAuthorizedOrNotFound); "
        "let a policy allow the user's group to `read secret-bundles`, or mend the OCID"
    )
    oci.keep("one", "hunter2")
    assert vault.read(ocid("one"))
    del oci.secrets[ocid("one")]
    now.now += REFRESH
    assert [refused(vault, "one") for _ in range(3)] == [expected] * 3
    assert vault.version(ocid("one")) is None
    assert oci.asked == [ocid("one")] * 2
    assert vault.read(oci.keep("other", "there")) == b"there"
    oci.keep("one", "back")
    oci.trouble = (503, "ServiceUnavailable")
    now.now += AGAIN
    assert "cannot be had now (503" in refused(vault, "one")
    oci.trouble = None
    now.now += AGAIN
    assert vault.read(ocid("one")) == b"back"


@pytest.mark.parametrize("trouble", [(503, "ServiceUnavailable"), (429, "TooManyRequests"), (500, "hunter2 <html>")])
def test_oci_in_trouble_harms_no_secret_that_was_read(
    oci: FakeVault, vault: Vault, now: Watch, trouble: tuple[int, str]
) -> None:
    name = oci.keep("one", "hunter2")
    assert vault.read(name) == b"hunter2"
    oci.trouble = trouble
    now.now += REFRESH
    assert vault.read(name) == b"hunter2"
    assert f"cannot be had now ({trouble[0]}" in refused(vault, "other")
    assert len(oci.asked) == 2, "who is in trouble is left alone for a while"
    oci.trouble = None
    oci.keep("one", "new")
    now.now += AGAIN
    assert vault.read(name) == b"new"


def test_oci_that_cannot_be_reached_is_said(now: Watch) -> None:
    vault = Vault(Oci(auth="config_file", endpoint=closed()), now=now)
    assert "of OCI Vault cannot be reached (" in refused(vault, "one")
    assert vault.version(ocid("one")) is None


def closed() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


def test_a_stranger_is_told_to_mend_who_he_is(oci: FakeVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oci.keep("one", "hunter2")
    (tmp_path / "oci-key.pem").write_text(pair(name="stranger").key, encoding="ascii")
    told = refused(Vault(Oci(auth="config_file", endpoint=oci.url)), "one")
    assert "is refused, OCI does not know the gateway (401 NotAuthenticated); mend ~/.oci/config" in told
    told = refused(Vault(Oci(auth="config_file", profile="OTHER", endpoint=oci.url)), "one")
    assert "the gateway is nobody to OCI by `config_file` (ProfileNotFound); mend ~/.oci/config" in told
    monkeypatch.setenv("OCI_METADATA_BASE_URL", closed())
    told = refused(Vault(Oci(endpoint=oci.url)), "one")
    assert "by `instance_principal` (" in told
    assert told.endswith("run it on an instance of OCI, or choose another `oci.auth`")
    told = refused(Vault(Oci(auth="resource_principal", endpoint=oci.url)), "one")
    assert "by `resource_principal` (" in told
    assert len(oci.asked) == 1


def test_another_profile_is_used(oci: FakeVault, tmp_path: Path) -> None:
    profile(tmp_path, "GATEWAY")
    vault = Vault(Oci(auth="config_file", profile="GATEWAY", endpoint=oci.url))
    assert vault.read(oci.keep("one", "hunter2")) == b"hunter2"


def test_a_resource_is_known_by_its_token(oci: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    session = jwt.encode({"exp": 9_999_999_999, "res_tenant": TENANCY}, "k" * 32)
    for name, value in {
        "VERSION": "2.2",
        "RPST": session,
        "PRIVATE_PEM": pair(name="oci").private.private_bytes(*TRADITIONAL).decode(),
        "REGION": "us-phoenix-1",
    }.items():
        monkeypatch.setenv(f"OCI_RESOURCE_PRINCIPAL_{name}", value)
    vault = Vault(Oci(auth="resource_principal", endpoint=oci.url))
    assert vault.read(oci.keep("one", "hunter2")) == b"hunter2"
    assert oci.keys == [f"ST${session}"]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("phx", "https://secrets.vaults.us-phoenix-1.oci.oraclecloud.com"),
        ("eu-frankfurt-1", "https://secrets.vaults.eu-frankfurt-1.oci.oraclecloud.com"),
        ("", "https://secrets.vaults.us-ashburn-1.oci.oraclecloud.com"),
    ],
)
def test_a_secret_is_asked_for_in_its_own_region(region: str, host: str) -> None:
    client = Vault(Oci(auth="config_file"))._client(ocid("one", region))
    assert client.base_client.endpoint == f"{host}/20190301"


@pytest.mark.parametrize("content", ["", "not base64!", "aGk"])
def test_content_that_is_no_base64_is_said(oci: FakeVault, vault: Vault, content: str) -> None:
    oci.secrets[ocid("one")] = Kept(content)
    secrets = Secrets({}, vault=vault)
    with pytest.raises(SecretProblem, match=r"is empty; write|it is no text in base64; mend its content"):
        secrets.read(SecretRef(oci_vault=ocid("one")))


def test_many_who_ask_at_once_make_one_request(oci: FakeVault, vault: Vault) -> None:
    name = oci.keep("one", "hunter2")
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(vault.read(name))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"hunter2"] * 8
    assert oci.asked == [name]


def test_an_answer_without_an_end_is_given_up(
    oci: FakeVault, vault: Vault, now: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, other = oci.keep("read", "hunter2"), oci.keep("other", "there")
    assert vault.read(read) == b"hunter2"
    monkeypatch.setattr("gateway.config.vault.LIMIT", 0.2)
    oci.trickles = True
    assert "cannot be had now (no answer within 0.2 s); it is tried again" in refused(vault, "other")
    now.now += REFRESH
    assert vault.read(read) == b"hunter2", "what was read goes on being used"
    oci.trickles = False
    monkeypatch.setattr("gateway.config.vault.LIMIT", 20.0)
    now.now += AGAIN
    oci.keep("read", "new")
    assert (vault.read(other), vault.read(read)) == (b"there", b"new")


def test_a_region_that_hangs_harms_no_other(oci: FakeVault, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    oci.secrets[ocid("one", "fra")] = Kept(base64.b64encode(b"there").decode())
    monkeypatch.setattr("gateway.config.vault.LIMIT", 0.2)
    oci.trickles = True
    refused(vault, "one")
    monkeypatch.setattr("gateway.config.vault.LIMIT", 20.0)
    oci.trickles = False
    assert "no answer within" in refused(vault, "one")
    assert vault.read(ocid("one", "fra")) == b"there"


def test_a_copy_does_not_show_itself(oci: FakeVault, vault: Vault) -> None:
    vault.read(oci.keep("one", "hunter2"))
    assert "hunter2" not in repr(vars(vault))


def test_a_package_that_is_missing_is_said_with_the_command(
    oci: FakeVault, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "oci", None)  # as Python itself notes what it cannot import
    told = refused(vault, "one")
    assert told.endswith("needs the package `oci`, which is not installed; run: pip install 'oic-gateway[oci]'")


# By way of a reference -----------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(vault: Vault) -> Secrets:
    return Secrets({}, vault=vault)


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"hunter2", "hunter2"), (b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"), ("höhle".encode(), "höhle")],
)
def test_a_reference_gives_the_text(oci: FakeVault, secrets: Secrets, content: bytes, secret: str) -> None:
    ref = SecretRef(oci_vault=oci.keep("one", content))
    assert secrets.read(ref).get_secret_value() == secret
    assert secrets.reader(ref)() == secret


@pytest.mark.parametrize(("content", "what"), [(b"\n", "is empty"), (b"\xff", "is not UTF-8 text")])
def test_content_that_is_no_secret_is_refused_by_name(
    oci: FakeVault, secrets: Secrets, content: bytes, what: str
) -> None:
    name = oci.keep("one", content)
    with pytest.raises(SecretProblem, match=f"^the secret `{name}` of OCI Vault {what}; write"):
        secrets.read(SecretRef(oci_vault=name))


def test_a_key_of_the_store_may_be_in_the_vault(oci: FakeVault, secrets: Secrets) -> None:
    key = bytes(range(32))
    ref = SecretRef(oci_vault=oci.keep("key", base64.b64encode(key)))
    assert secrets.sealing_key(ref) == key
    with pytest.raises(SecretProblem, match=f"the secret of `{ocid('bad')}` is not a key of 32 bytes"):
        secrets.sealing_key(SecretRef(oci_vault=oci.keep("bad", "hunter2")))


def test_a_fingerprint_is_another_one_with_another_version(oci: FakeVault, secrets: Secrets, now: Watch) -> None:
    ref = SecretRef(oci_vault=oci.keep("one", "old"))
    before = secrets.fingerprint(ref)
    oci.keep("one", "new")
    now.now += AGAIN
    assert secrets.fingerprint(ref) == before
    secrets.expire(ref)
    assert secrets.fingerprint(ref) != before
