"""References of the file are read once, and every problem is reported."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.references import check_references
from tests.fakes.keys import pair

ENVIRON = {
    "GOOD": "hunter2",
    "BLANK": "hunter2 ",
    "KEY": pair().key,
    "LOCKED": pair().locked("open-sesame"),
    "SESAME": "open-sesame",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "cert.pem": pair().certificate,
        "key.pem": pair().key,
        "locked.pem": pair().locked("open-sesame"),
        "both.pem": pair().certificate + pair().key,
        "other.pem": pair(name="other").key,
        "ec.pem": pair("ec").key,
        "text": "hunter2",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def problems_of(folder: Path, **credential: Any) -> list[str]:
    found = check_references({"credentials": {"app": credential}}, base=folder, environ=ENVIRON)
    return [
        f"{'.'.join(map(str, issue.steps[2:]))}: {issue.severity}: {issue.what}".replace(str(folder), "FOLDER")
        for issue in found
    ]


def test_only_secret_that_cannot_be_read_is_an_error(folder: Path) -> None:
    expected = "client_secret.env: error: the environment variable `NONE` is not set"
    assert problems_of(folder, client_secret={"env": "NONE"}) == [expected]
    assert problems_of(folder, client_secret=[{"env": "NONE"}]) == [expected.replace("secret.", "secret.0.")]


def test_one_of_several_secrets_may_be_missing(folder: Path) -> None:
    assert problems_of(folder, client_secret=[{"file": "new"}, {"env": "GOOD"}]) == [
        "client_secret.0.file: warning: the secret file `FOLDER/new` is missing"
    ]
    assert problems_of(folder, client_secret=[{"env": "BLANK"}, {"file": "old"}]) == [
        "client_secret.0.env: warning: the secret of `BLANK` has white space at an end",
        "client_secret.1.file: warning: the secret file `FOLDER/old` is missing",
    ]
    assert [line.split(": ")[1] for line in problems_of(folder, client_secret=[{"file": "new"}, {"file": "old"}])] == [
        "error",
        "error",
    ]


@pytest.mark.parametrize(
    "tls",
    [
        {"cert": "cert.pem", "key": "key.pem"},
        {"cert": "both.pem"},
        {"cert": "cert.pem", "key": "locked.pem", "key_password": {"env": "SESAME"}},
    ],
)
def test_client_certificate_and_key_are_accepted(folder: Path, tls: dict[str, Any]) -> None:
    assert problems_of(folder, tls=tls) == []


LONG = "a" * 300
MISFIT = "tls.cert: error: certificate and key are not PEM, do not belong together, or need another `key_password`"


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ({"cert": "cert.pem"}, MISFIT),
        ({"cert": "text"}, MISFIT),
        ({"cert": "cert.pem", "key": "other.pem"}, MISFIT),
        ({"cert": "cert.pem", "key": "locked.pem"}, MISFIT),
        ({"cert": "cert.pem", "key": "locked.pem", "key_password": {"env": "GOOD"}}, MISFIT),
        ({"cert": "none"}, "tls.cert: error: the file `FOLDER/none` cannot be read (No such file or directory)"),
        ({"cert": LONG}, f"tls.cert: error: the file `FOLDER/{LONG}` cannot be read (File name too long)"),
        (
            {"cert": "cert.pem", "key": "none"},
            "tls.key: error: the file `FOLDER/none` cannot be read (No such file or directory)",
        ),
    ],
)
def test_client_certificate_without_its_key_is_reported(folder: Path, tls: dict[str, Any], expected: str) -> None:
    assert problems_of(folder, tls=tls) == [expected]


@pytest.mark.parametrize(
    ("signing", "expected"),
    [
        ({"private_key": {"file": "key.pem"}, "cert": "cert.pem", "algorithm": "RS256"}, []),
        ({"private_key": {"env": "KEY"}}, []),
        ({"private_key": {"file": "ec.pem"}, "algorithm": "ES256"}, []),
        ({"private_key": {"env": "LOCKED"}}, ["signing.private_key: error: is encrypted"]),
        ({"private_key": {"file": "text"}}, ["signing.private_key: error: is not a PEM private key"]),
        ({"private_key": {"env": "KEY"}, "algorithm": "ES256"}, ["signing.algorithm: error: signs RS256 only"]),
        (
            {"private_key": {"file": "ec.pem"}, "cert": "cert.pem"},
            ["signing.cert: error: does not belong to the private key"],
        ),
        ({"private_key": {"env": "KEY"}, "cert": "text"}, ["signing.cert: error: is not a PEM certificate"]),
        (
            {"private_key": {"env": "KEY"}, "cert": "none"},
            ["signing.cert: error: the file `FOLDER/none` cannot be read (No such file or directory)"],
        ),
        ({"private_key": {"env": "NONE"}}, ["signing.private_key.env: error: the environment variable `NONE` is not"]),
        ({"private_key": {"file": "locked.pem"}, "key_password": {"oci_vault": "ocid1.vaultsecret.oc1..a"}}, []),
        ({"private_key": {"oci_vault": "ocid1.vaultsecret.oc1..a"}, "cert": "none"}, []),
        ({"private_key": "hunter2", "cert": 7}, []),
        ({"private_key": {"file": 7}}, []),
    ],
)
def test_signing_key_is_checked_with_its_certificate(
    folder: Path, signing: dict[str, Any], expected: list[str]
) -> None:
    found = problems_of(folder, signing=signing)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)
        assert "hunter2" not in line
