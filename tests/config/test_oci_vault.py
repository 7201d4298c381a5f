"""Secrets of OCI Vault, read with Oracle's own client from a server that checks its signatures."""

import base64
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.config.issue import SecretProblem
from gateway.config.model import OciSettings
from gateway.config.oci_vault import OciVault
from gateway.config.secret_cache import RETRY_INTERVAL
from gateway.config.secrets import SecretReader
from gateway.config.strict_model import SecretRef
from tests.fakes.keys import pair
from tests.fakes.oci_vault import FINGERPRINT, TENANCY, USER, FakeOciVault, StoredSecret, ocid, profile

REFRESH = 300.0
TRADITIONAL = Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def oci() -> Iterator[FakeOciVault]:
    with FakeOciVault() as vault:
        yield vault


@pytest.fixture(autouse=True)
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in profile(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def now() -> Clock:
    return Clock()


@pytest.fixture
def vault(oci: FakeOciVault, now: Clock) -> OciVault:
    return OciVault(OciSettings(auth="config_file", endpoint=oci.url), now=now)


def refused(vault: OciVault, name: str) -> str:
    with pytest.raises(SecretProblem) as problem:
        vault.read(ocid(name))
    assert ocid(name) in problem.value.what
    assert problem.value.__cause__ is None
    assert "hunter2" not in str(problem.value)
    return str(problem.value).replace(ocid(name), "OCID")


def test_secret_is_read_with_a_signed_request_and_cached(oci: FakeOciVault, vault: OciVault, now: Clock) -> None:
    name = oci.store_secret("one", "hunter2")
    for _ in range(3):
        assert (vault.read(name), vault.version(name)) == (b"hunter2", 1)
        now.now += REFRESH / 4
    assert oci.requested == [name]
    assert oci.keys == [f"{TENANCY}/{USER}/{FINGERPRINT}"]
    assert vault.written_at(name) == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC).timestamp()
    oci.store_secret("one", "another")
    now.now += REFRESH / 4 - 1
    assert vault.read(name) == b"hunter2"
    now.now += 1
    assert (vault.read(name), vault.version(name)) == (b"another", 2)
    assert oci.requested == [name, name]


def test_expired_secret_is_read_again_at_most_per_interval(oci: FakeOciVault, vault: OciVault, now: Clock) -> None:
    name = oci.store_secret("one", "old")
    assert vault.version(name) == 1
    oci.store_secret("one", "new")
    vault.expire(name)
    now.now += RETRY_INTERVAL - 1
    assert vault.version(name) == 1
    now.now += 1
    assert (vault.version(name), vault.read(name)) == (2, b"new")
    vault.expire(ocid("never-read"))
    assert oci.requested == [name, name]


def test_refused_secret_is_dropped_and_names_the_policy(oci: FakeOciVault, vault: OciVault, now: Clock) -> None:
    expected = (
        "the secret `OCID` of OCI Vault is refused (404 NotAuthorizedOrNotFound); "
        "add a policy that allows the user's group to `read secret-bundles`, or correct the OCID"
    )
    oci.store_secret("one", "hunter2")
    assert vault.read(ocid("one"))
    del oci.secrets[ocid("one")]
    now.now += REFRESH
    assert [refused(vault, "one") for _ in range(3)] == [expected] * 3
    assert vault.version(ocid("one")) is None
    assert oci.requested == [ocid("one")] * 2
    assert vault.read(oci.store_secret("other", "there")) == b"there"
    oci.store_secret("one", "back")
    oci.error = (503, "ServiceUnavailable")
    now.now += RETRY_INTERVAL
    assert "is not available now (503" in refused(vault, "one")
    oci.error = None
    now.now += RETRY_INTERVAL
    assert vault.read(ocid("one")) == b"back"


@pytest.mark.parametrize("failure", [(503, "ServiceUnavailable"), (429, "TooManyRequests"), (500, "hunter2 <html>")])
def test_cached_secret_survives_an_oci_outage(
    oci: FakeOciVault, vault: OciVault, now: Clock, failure: tuple[int, str]
) -> None:
    name = oci.store_secret("one", "hunter2")
    assert vault.read(name) == b"hunter2"
    oci.error = failure
    now.now += REFRESH
    assert vault.read(name) == b"hunter2"
    assert f"is not available now ({failure[0]}" in refused(vault, "other")
    assert len(oci.requested) == 2, "after a failure OCI is not called for a while"
    oci.error = None
    oci.store_secret("one", "new")
    now.now += RETRY_INTERVAL
    assert vault.read(name) == b"new"


def test_unreachable_oci_is_reported(now: Clock, closed_port: int) -> None:
    vault = OciVault(OciSettings(auth="config_file", endpoint=f"http://127.0.0.1:{closed_port}"), now=now)
    assert "of OCI Vault cannot be reached (" in refused(vault, "one")
    assert vault.version(ocid("one")) is None


def test_rejected_identity_names_its_remedy(
    oci: FakeOciVault, tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    oci.store_secret("one", "hunter2")
    (tmp_path / "oci-key.pem").write_text(pair(name="stranger").key, encoding="ascii")
    message = refused(OciVault(OciSettings(auth="config_file", endpoint=oci.url)), "one")
    assert (
        "is refused: OCI does not accept the gateway's identity (401 NotAuthenticated); correct ~/.oci/config"
        in message
    )
    message = refused(OciVault(OciSettings(auth="config_file", profile="OTHER", endpoint=oci.url)), "one")
    assert "the gateway has no OCI identity by `config_file` (ProfileNotFound); correct ~/.oci/config" in message
    monkeypatch.setenv("OCI_METADATA_BASE_URL", f"http://127.0.0.1:{closed_port}")
    message = refused(OciVault(OciSettings(endpoint=oci.url)), "one")
    assert "by `instance_principal` (" in message
    assert message.endswith("run it on an instance of OCI, or choose another `oci.auth`")
    message = refused(OciVault(OciSettings(auth="resource_principal", endpoint=oci.url)), "one")
    assert "by `resource_principal` (" in message
    assert len(oci.requested) == 1


def test_another_profile_is_used(oci: FakeOciVault, tmp_path: Path) -> None:
    profile(tmp_path, "GATEWAY")
    vault = OciVault(OciSettings(auth="config_file", profile="GATEWAY", endpoint=oci.url))
    assert vault.read(oci.store_secret("one", "hunter2")) == b"hunter2"


def test_resource_principal_signs_with_its_token(oci: FakeOciVault, monkeypatch: pytest.MonkeyPatch) -> None:
    session = jwt.encode({"exp": 9_999_999_999, "res_tenant": TENANCY}, "k" * 32)
    for name, value in {
        "VERSION": "2.2",
        "RPST": session,
        "PRIVATE_PEM": pair(name="oci").private.private_bytes(*TRADITIONAL).decode(),
        "REGION": "us-phoenix-1",
    }.items():
        monkeypatch.setenv(f"OCI_RESOURCE_PRINCIPAL_{name}", value)
    vault = OciVault(OciSettings(auth="resource_principal", endpoint=oci.url))
    assert vault.read(oci.store_secret("one", "hunter2")) == b"hunter2"
    assert oci.keys == [f"ST${session}"]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("phx", "https://secrets.vaults.us-phoenix-1.oci.oraclecloud.com"),
        ("eu-frankfurt-1", "https://secrets.vaults.eu-frankfurt-1.oci.oraclecloud.com"),
        ("", "https://secrets.vaults.us-ashburn-1.oci.oraclecloud.com"),
    ],
)
def test_secret_is_requested_in_its_own_region(region: str, host: str) -> None:
    client = OciVault(OciSettings(auth="config_file"))._acquire_client(ocid("one", region))
    assert client.base_client.endpoint == f"{host}/20190301"


@pytest.mark.parametrize("content", ["", "not base64!", "aGk"])
def test_content_that_is_not_base64_is_reported(oci: FakeOciVault, vault: OciVault, content: str) -> None:
    oci.secrets[ocid("one")] = StoredSecret(content)
    secrets = SecretReader({}, stores={"oci_vault": vault})
    with pytest.raises(SecretProblem, match=r"is empty; write|it is not base64 text; correct its content"):
        secrets.read(SecretRef(oci_vault=ocid("one")))


def test_concurrent_reads_make_one_request(oci: FakeOciVault, vault: OciVault) -> None:
    name = oci.store_secret("one", "hunter2")
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(vault.read(name))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"hunter2"] * 8
    assert oci.requested == [name]


def test_endless_response_is_abandoned(
    oci: FakeOciVault, vault: OciVault, now: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, other = oci.store_secret("read", "hunter2"), oci.store_secret("other", "there")
    assert vault.read(read) == b"hunter2"
    monkeypatch.setattr("gateway.config.secret_cache.LIMIT", 0.2)
    oci.trickles = True
    assert "is not available now (no answer within 0.2 s); the gateway retries" in refused(vault, "other")
    now.now += REFRESH
    assert vault.read(read) == b"hunter2", "the cached copy stays in use"
    oci.trickles = False
    monkeypatch.setattr("gateway.config.secret_cache.LIMIT", 20.0)
    now.now += RETRY_INTERVAL
    oci.store_secret("read", "new")
    assert (vault.read(other), vault.read(read)) == (b"there", b"new")


def test_hanging_region_does_not_affect_others(
    oci: FakeOciVault, vault: OciVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    oci.secrets[ocid("one", "fra")] = StoredSecret(base64.b64encode(b"there").decode())
    monkeypatch.setattr("gateway.config.secret_cache.LIMIT", 0.2)
    oci.trickles = True
    refused(vault, "one")
    monkeypatch.setattr("gateway.config.secret_cache.LIMIT", 20.0)
    oci.trickles = False
    assert "no answer within" in refused(vault, "one")
    assert vault.read(ocid("one", "fra")) == b"there"


def test_repr_does_not_show_a_cached_secret(oci: FakeOciVault, vault: OciVault) -> None:
    vault.read(oci.store_secret("one", "hunter2"))
    assert "hunter2" not in repr(vars(vault))


def test_missing_package_is_reported_with_install_command(
    oci: FakeOciVault, vault: OciVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "oci", None)  # Python's own mark for a failed import
    message = refused(vault, "one")
    assert message.endswith("needs the package `oci`, which is not installed; run: pip install 'oic-gateway[oci]'")


# By reference -----------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(vault: OciVault) -> SecretReader:
    return SecretReader({}, stores={"oci_vault": vault})


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"hunter2", "hunter2"), (b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"), ("höhle".encode(), "höhle")],
)
def test_reference_returns_the_text(oci: FakeOciVault, secrets: SecretReader, content: bytes, secret: str) -> None:
    ref = SecretRef(oci_vault=oci.store_secret("one", content))
    assert secrets.read(ref).get_secret_value() == secret
    assert secrets.reader(ref)() == secret


@pytest.mark.parametrize(("content", "what"), [(b"\n", "is empty"), (b"\xff", "is not UTF-8 text")])
def test_unusable_content_is_rejected_with_the_name(
    oci: FakeOciVault, secrets: SecretReader, content: bytes, what: str
) -> None:
    name = oci.store_secret("one", content)
    with pytest.raises(SecretProblem, match=f"^the secret `{name}` of OCI Vault {what}; write"):
        secrets.read(SecretRef(oci_vault=name))


def test_store_key_may_be_in_the_vault(oci: FakeOciVault, secrets: SecretReader) -> None:
    key = bytes(range(32))
    ref = SecretRef(oci_vault=oci.store_secret("key", base64.b64encode(key)))
    assert secrets.sealing_key(ref) == key
    with pytest.raises(SecretProblem, match=f"the secret of `{ocid('bad')}` is not a key of 32 bytes"):
        secrets.sealing_key(SecretRef(oci_vault=oci.store_secret("bad", "hunter2")))


def test_new_version_changes_the_fingerprint(oci: FakeOciVault, secrets: SecretReader, now: Clock) -> None:
    ref = SecretRef(oci_vault=oci.store_secret("one", "old"))
    before = secrets.fingerprint(ref)
    oci.store_secret("one", "new")
    now.now += RETRY_INTERVAL
    assert secrets.fingerprint(ref) == before
    secrets.expire(ref)
    assert secrets.fingerprint(ref) != before
