"""Secrets are read through their reference; a problem names the reference and never the secret."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config.issue import SecretProblem
from gateway.config.model import CredentialSettings
from gateway.config.secrets import MAX_BYTES, SecretReader, suspicious
from gateway.config.strict_model import SecretRef, VaultRef


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter2 ", " hunter2 "),
        (b"hunter2\r", "hunter2\r"),
        ("höhle".encode(), "höhle"),
        (b"x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
)
def test_one_newline_at_the_end_of_a_file_is_left_off(tmp_path: Path, content: bytes, secret: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert SecretReader({}, base=tmp_path).read(SecretRef(file="secret")).get_secret_value() == secret


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x" * (MAX_BYTES + 1), "is larger than 64 KiB"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(SecretProblem) as refused:
        SecretReader({}).read(SecretRef(file=str(file)))
    assert refused.value.what == f"the secret file `{file}` {what}"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(SecretProblem, match="is not a regular file"):
            SecretReader({}).read(SecretRef(file=f"{tmp_path}/{name}"))


def test_a_missing_or_unreachable_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SecretProblem, match=r"`.*/none` is missing; create it"):
        SecretReader({}, base=tmp_path).read(SecretRef(file="none"))
    with pytest.raises(SecretProblem, match=r"cannot be read \(Not a directory\)"):
        SecretReader({}, base=tmp_path).read(SecretRef(file="file/none"))


def test_a_variable_is_taken_as_it_is() -> None:
    assert SecretReader({"NAME": "hunter2\n"}).read(SecretRef(env="NAME")).get_secret_value() == "hunter2\n"


@pytest.mark.parametrize(("environ", "what"), [({}, "is not set"), ({"NAME": ""}, "is empty")])
def test_a_variable_without_a_secret_is_refused_by_name(environ: dict[str, str], what: str) -> None:
    with pytest.raises(SecretProblem, match=f"the environment variable `NAME` {what}; set it"):
        SecretReader(environ).read(SecretRef(env="NAME"))


def test_a_credential_of_systemd_is_read(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("hunter2\n")
    secrets = SecretReader({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    ref = SecretRef(credential="app")
    assert secrets.read(ref).get_secret_value() == "hunter2"
    before = secrets.fingerprint(ref)
    (tmp_path / "app").write_text("hunter23\n")
    assert secrets.fingerprint(ref) != before


@pytest.mark.parametrize(
    ("environ", "missing"),
    [({}, "the variable `CREDENTIALS_DIRECTORY`"), ({"CREDENTIALS_DIRECTORY": "/none"}, "`/none/app`")],
)
def test_a_credential_that_is_not_passed_is_named(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(SecretProblem) as refused:
        SecretReader(environ).read(SecretRef(credential="app"))
    assert refused.value.what == f"systemd does not pass the credential `app`: {missing} is missing"
    assert "LoadCredential=app:" in refused.value.remedy


def test_a_credential_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 300)
    with pytest.raises(SecretProblem, match=f"`{folder}/app` cannot be read \\(File name too long\\)"):
        SecretReader({"CREDENTIALS_DIRECTORY": str(folder)}).read(SecretRef(credential="app"))


def test_reader_without_servers_refuses_their_secrets() -> None:
    with pytest.raises(SecretProblem, match="`apps/orders#key` is on a server that cannot be read here"):
        SecretReader({}).read(SecretRef(vault=VaultRef(path="apps/orders", field="key")))


def test_a_reader_sees_a_changed_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    give = SecretReader({}).reader(SecretRef(file=str(file)))
    file.write_text("old\n")
    assert give() == "old"
    file.write_text("new\n")
    assert give() == "new"
    file.unlink()
    with pytest.raises(OSError, match="is missing"):
        give()


CREDENTIAL = CredentialSettings.model_validate(
    {
        "token_url": "https://idcs.example/oauth2/v1/token",
        "client_id": "an-id",
        "client_secret": [{"file": "new"}, {"file": "old"}, {"env": "SECRET"}],
        "signing": {"private_key": {"file": "signing.pem"}, "cert": "signing.crt"},
        "tls": {"ca": "ca.pem", "cert": "client.crt", "key": "client.key"},
        "scope": "file",
    }
)
FILES = ("new", "old", "signing.pem", "signing.crt", "ca.pem", "client.crt", "client.key")


@pytest.mark.parametrize("name", FILES)
def test_fingerprint_changes_with_each_referenced_file(tmp_path: Path, name: str) -> None:
    for file in FILES:
        (tmp_path / file).write_text("first")
    before = SecretReader({}, base=tmp_path).fingerprint(CREDENTIAL)
    assert SecretReader({}, base=tmp_path).fingerprint(CREDENTIAL) == before
    assert len(before) == len(FILES)
    (tmp_path / name).write_text("another")
    assert SecretReader({}, base=tmp_path).fingerprint(CREDENTIAL) != before


def test_fingerprint_detects_a_replaced_file_of_same_size(tmp_path: Path) -> None:
    secret, other = tmp_path / "secret", tmp_path / "other"
    secret.write_text("first")
    other.write_text("other")
    os.utime(other, ns=(secret.stat().st_atime_ns, secret.stat().st_mtime_ns))
    before = SecretReader({}, base=tmp_path).fingerprint(SecretRef(file="secret"))
    other.replace(secret)
    assert SecretReader({}, base=tmp_path).fingerprint(SecretRef(file="secret")) != before


def test_a_fingerprint_of_what_is_missing_is_one_too(tmp_path: Path) -> None:
    ref = SecretRef(file="secret")
    before = SecretReader({}, base=tmp_path).fingerprint(ref)
    assert before == SecretReader({}, base=tmp_path).fingerprint(ref)
    (tmp_path / "secret").write_text("there")
    assert SecretReader({}, base=tmp_path).fingerprint(ref) != before


def test_what_is_read_does_not_show_itself() -> None:
    assert "hunter2" not in repr(SecretReader({"NAME": "hunter2"}).read(SecretRef(env="NAME")))


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("hunter2", ""),
        ("hun ter2", "has white space or a control character in it"),
        ("hun\0ter2", "has white space or a control character in it"),
        ("hunter2\n", "has white space at an end"),
        ("\thunter2", "has white space at an end"),
    ],
)
def test_white_space_is_doubtful(secret: str, reason: str) -> None:
    assert suspicious(SecretStr(secret)) == reason
