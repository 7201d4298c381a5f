"""A file becomes a configuration, or every problem is named with its line, its key and its remedy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.config.load import ConfigProblems, Loaded, load, one_route
from gateway.config.resolved import client_secrets

ProblemsOf = Callable[[str], list[str]]

# Self-signed, valid from 2020 to 2120; its key was thrown away.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBITCByKADAgECAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBHRlc3QwIBcN
MjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMA8xDTALBgNVBAMMBHRlc3Qw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATbhQAPOZJRvlr1HLfngrme9xAHYJ3S
pQpSGOHAoox2n41neALGLPNYRcQge3jH6KNQotuqSHapL3NE2DBmfhbpoxMwETAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIELPqnEHjvSuum5/Jiw5
WUWOUS98Ws9cDgE5jKZ59EELAiEAqNtafMGFVNr+Uxr5cP8QaEj3LAnZGg+etnug
fWBzrAY=
-----END CERTIFICATE-----
"""

SIX = """\
listen: 0.0.0.0:8080
drain: 30
credentials:
  app:
    token_url: https://idcs.example/oauth2/v1/token
    client_id: an-id
    client_secret: hunter2
    scop: read
routes:
  - name: orders
    path: /orders/
    upstream: https://acme.example/ic/
    credential: ap
  - name: other
    path: /orders
    upstream: https://acme.example/ic/
    credential: app
"""


def test_six_mistakes_are_named_in_one_go_each_with_its_line(problems_of: ProblemsOf) -> None:
    assert problems_of(SIX) == [
        (
            "1: listen: can be reached from other machines, but `allow` names no network; "
            "add `allow: [10.0.0.0/8]` with your networks, or use 127.0.0.1"
        ),
        "2: drain: needs a number with a unit; write it like 330s, 250ms or 5m",
        "7: credentials.app.client_secret: a secret must not be in the file; write {file: /path} or {env: NAME}",
        "8: credentials.app.scop: is not a known key; did you mean `scope`?",
        "13: routes[0].credential: names the credential `ap` that does not exist; did you mean `app`?",
        "15: routes[1].path: is the same as that of routes[0]; merge the routes, or change one path",
    ]


def test_a_right_file_becomes_a_configuration_without_warnings(problems_of: ProblemsOf, valid: str) -> None:
    assert problems_of(valid) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ":1: is empty; run `oic-gateway init` to write a first configuration"),
        (b"# nothing\n", ":1: is empty; run `oic-gateway init` to write a first configuration"),
        (b"\n- a\n", ":2: does not contain keys and values; run `oic-gateway init` to write a first configuration"),
        (
            b"listen: a\nhosts: [\xfc]\n",
            ":2: is not UTF-8 text: byte 0xFC may be ISO-8859-1; save the file as UTF-8",
        ),
        (
            b"# \xe4\nlisten: a\n",
            ":1: is not UTF-8 text: byte 0xE4 may be ISO-8859-1; save the file as UTF-8",
        ),
        (
            "listen: a\n".encode("utf-16"),
            ":1: is UTF-16 or UTF-32 text, not UTF-8; save the file as UTF-8",
        ),
        (
            "listen: a\n".encode("utf-16-be"),
            ":1: is UTF-16 or UTF-32 text, not UTF-8; save the file as UTF-8",
        ),
        (
            "listen: a\n".encode("utf-16-le"),
            ":1: is UTF-16 or UTF-32 text, not UTF-8; save the file as UTF-8",
        ),
        (
            "listen: a\n".encode("utf-32"),
            ":1: is UTF-16 or UTF-32 text, not UTF-8; save the file as UTF-8",
        ),
        (b"#" * (8 * 1024 * 1024 + 1), ": is larger than 8 MiB; name the right file, or shorten it"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_is_one_problem(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigProblems) as refused:
        load(file, environ={})
    assert str(refused.value) == f"{file}{expected}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none.yaml", "does not exist; create it (`oic-gateway init` writes a first one), or name another file"),
        ("", "is not a regular file; name a regular file, not a pipe or a device"),
        ("a\0b", "cannot be read (not a path); change its permissions, or name another file"),
    ],
)
def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(ConfigProblems) as refused:
        load(f"{tmp_path}/{name}", environ={})
    assert [f"{problem.what}; {problem.remedy}" for problem in refused.value.problems] == [expected]


def test_a_byte_order_mark_is_no_problem(tmp_path: Path, valid: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("\ufeff" + valid, encoding="utf-8")
    assert load(file, environ={"APP_SECRET": "s"}).config.routes[0].name == "orders"


def test_files_count_from_the_folder_of_the_configuration(tmp_path: Path, valid: str) -> None:
    text = valid.replace("{env: APP_SECRET}", "{file: secret}\n    tls: {ca: ca.pem}")
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    credential = load(file, environ={}, check_secrets=False).config.credentials["app"]
    [secret] = client_secrets(credential)
    assert secret.file == str(tmp_path / "secret")
    assert credential.tls is not None
    assert credential.tls.ca == str(tmp_path / "ca.pem")


def test_certificates_are_taken(tmp_path: Path, problems_of: ProblemsOf, valid: str) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    assert problems_of(f"{valid}    tls: {{ca: ca.pem}}\n") == []


def test_unchecked_secrets_need_not_exist(tmp_path: Path, valid: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(valid)
    assert load(file, environ={}, check_secrets=False).warnings == ()


def test_a_doubtful_secret_is_a_warning_that_does_not_show_it(tmp_path: Path, valid: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(valid)
    loaded = load(file, environ={"APP_SECRET": "hunter2 "})
    assert [str(problem) for problem in loaded.warnings] == [
        (
            f"{file}:6: credentials.app.client_secret.env: warning: the secret of `APP_SECRET` "
            "has white space at an end; remove it"
        )
    ]


_LINES = st.sampled_from(
    [*SIX.splitlines(), "  a: &a [*a, *a]", "  <<: *a", "? [x]", "x: {y: [", "- - -", "%YAML 9.9", "---", "!!int x: 1"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary() | st.text().map(str.encode) | st.lists(_LINES, max_size=25).map(lambda ls: "\n".join(ls).encode()))
@example(b'x: "\\UFFFFFFFF"')
@example(b'x: "\\uD800"')
@example(b"%YAML " + b"9" * 5000 + b".1\n---\nx: 1")
@example(b"drain: " + b"9" * 5000)
@example(b"drain: " + b"9" * 5000 + b"d\nlimits: {body: 9" + b"9" * 5000 + b"GiB}")
@example(b"listen: a:" + b"9" * 5000)
@example(b"[" * 100_000)
@example(b"{a: " * 100_000)
@example(b"a: &a [*a]")
@example(b"a0: &a0 [x, x]\n" + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i, i, i - 1, i - 1) for i in range(1, 40)))
@example(b"allow: [1, [], {}, null, 1e400, .nan]\nroutes: 1\ncredentials: 1\ndefaults: 1")
@example(b"credentials: {a: 1, b: {scope: [1]}}\nroutes: [1, {path: 1, upstream: 'http://[', credential: [a]}]")
@example(b"defaults: {credential: [a], x: {y: z}}\ncredentials: {}\nroutes: [{}]")
@example("listen: \u0661:\u0661\nlimits: {body: \u0661MB}".encode())
def test_any_bytes_give_a_configuration_or_its_problems(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_bytes(content)
    try:
        loaded = load(file, environ={})
    except ConfigProblems as refused:
        problems, problems_of = refused.problems, str(refused)
    else:
        assert isinstance(loaded, Loaded)
        return
    assert any(problem.severity == "error" for problem in problems)
    assert len(problems_of.encode().splitlines()) == len(problems)


FLAGS: dict[str, Any] = {
    "upstream": "https://acme.example/ic/",
    "token_url": "https://idcs.example/t",
    "client_id": "an-id",
}


def test_flags_make_one_route(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    config = one_route(
        **FLAGS, client_secret_file=str(secret), scope="s", listen="0.0.0.0:80", allow=["10.0.0.0/8"], environ={}
    )
    assert (config.routes[0].name, config.routes[0].path, config.routes[0].credential) == ("default", "/", "default")
    [ref] = client_secrets(config.credentials["default"])
    assert ref.file == str(secret)
    assert config.credentials["default"].scope == "s"
    assert (config.listen, config.admin) == ("0.0.0.0:80", "127.0.0.1:9090")
    assert [str(network) for network in config.allow] == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            {"client_secret_env": "S", "upstream": "acme"},
            "--upstream: is not an http or https URL with a host; write it like https://host/path",
        ),
        (
            {"client_secret_env": "S", "token_url": "x"},
            "--token-url: is not an http or https URL with a host; write it like https://host/path",
        ),
        ({"client_secret_env": "S", "client_id": ""}, "--client-id: is empty; write a value"),
        ({"client_secret_env": "S", "scope": " "}, "--scope: is empty; write the scope, or remove the key"),
        (
            {"client_secret_env": "S", "admin": "127.0.0.1:8080"},
            "--admin: is the same address as `listen`; change one of the ports",
        ),
        ({"client_secret_env": "S", "allow": ["x"]}, "--allow: is not a network; write it like 10.0.0.0/8 or fd00::/8"),
        (
            {"client_secret_env": "NONE"},
            "--client-secret-env: the environment variable `NONE` is not set; set it to the secret",
        ),
        (
            {"client_secret_file": "/none"},
            "--client-secret-file: the secret file `/none` is missing; create it, or correct the path",
        ),
        ({}, "--client-secret-file: is missing; name the file that holds the client secret"),
        (
            {"client_secret_env": "S", "client_secret_file": "/none"},
            "--client-secret-file: is set together with --client-secret-env; remove one of them",
        ),
    ],
)
def test_a_wrong_flag_is_named_as_the_flag(flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigProblems) as refused:
        one_route(**{**FLAGS, **flags}, environ={"S": "x"})
    assert str(refused.value) == expected


def test_an_open_address_needs_allow_also_as_a_flag() -> None:
    with pytest.raises(ConfigProblems, match=r"^--listen: can be reached from other machines") as refused:
        one_route(**FLAGS, client_secret_env="S", listen="0.0.0.0:80", environ={"S": "x"})
    assert len(refused.value.problems) == 1
