"""A file becomes a configuration, or every problem is named with its line, its key and its remedy."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.config.load import ConfigProblems, Loaded, load, one_route

Say = Callable[[str], list[str]]

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


def test_six_mistakes_are_named_in_one_go_each_with_its_line(said: Say) -> None:
    assert said(SIX) == [
        "1: listen: can be reached from other machines, but `allow` names no network; "
        "add `allow: [10.0.0.0/8]` with your networks, or use 127.0.0.1",
        "2: drain: needs a number with a unit; write it like 330s, 250ms or 5m",
        "7: credentials.app.client_secret: a secret must not stand in the file; write {file: /path} or {env: NAME}",
        "8: credentials.app.scop: is not a known key; did you mean `scope`?",
        "13: routes[0].credential: names the credential `ap` that does not exist; did you mean `app`?",
        "15: routes[1].path: is the same as that of routes[0]; merge the routes, or change one path",
    ]


def test_a_right_file_becomes_a_configuration_without_warnings(said: Say, right: str) -> None:
    assert said(right) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    client_id: an-id\n", "", "3: credentials.app.client_id: is missing; add it"),
        ("client_id: an-id", "client_id:", "5: credentials.app.client_id: is empty; write a value, or leave the key out"),
        ("client_id: an-id", 'client_id: ""', "5: credentials.app.client_id: is empty; write it"),
        ("an-id", "17", "5: credentials.app.client_id: is a number or a truth value where text is needed; write it in quotes"),
        ("an-id", "[a]", "5: credentials.app.client_id: must be one text; write a single value"),
        ("listen:", "listne:", "1: listne: is not a known key; did you mean `listen`?"),
        ("127.0.0.1:8080", "localhost", "1: listen: is not an address; write HOST:PORT, like 127.0.0.1:8080, or unix:/path"),
        ("127.0.0.1:8080", "'::1:80'", "1: listen: is not an address; write HOST:PORT, like 127.0.0.1:8080, or unix:/path"),
        ("127.0.0.1:8080", "h:99999", "1: listen: is not an address; write HOST:PORT, like 127.0.0.1:8080, or unix:/path"),
        ("127.0.0.1:8080", "unix:/" + "x" * 107, "1: listen: is not a socket path of up to 107 bytes; write it like unix:/run/gateway.sock"),
        ("listen: 127.0.0.1:8080", "allow: [10.0.0.0/33]", "1: allow[0]: is not a network; write it like 10.0.0.0/8 or fd00::/8"),
        ("listen: 127.0.0.1:8080", "allow: [10.0.0.1/8]", "1: allow[0]: has bits set beyond its prefix; write the network's own address"),
        ("listen: 127.0.0.1:8080", "allow: 10.0.0.0/8", "1: allow: must be a list; write it like [a, b], or one `- a` per line"),
        ("listen: 127.0.0.1:8080", "hosts: ['gw:80']", "1: hosts[0]: is not a host name; write it like gw.example.com, without scheme or port"),
        ("listen: 127.0.0.1:8080", "log: loud", "1: log: must hold keys of its own; write `key: value` lines under it"),
        ("listen: 127.0.0.1:8080", "log:\n  level: loud", "2: log.level: is not a word known here; write 'debug', 'info', 'warning' or 'error'"),
        ("listen: 127.0.0.1:8080", "limits: {fields: 7}", "1: limits.fields: is too small; write 8 or more"),
        ("listen: 127.0.0.1:8080", "limits: {fields: 1001}", "1: limits.fields: is too large; write 1000 or less"),
        ("listen: 127.0.0.1:8080", "limits: {fields: '9'}", "1: limits.fields: must be a whole number; write digits only, without quotes or unit"),
        ("listen: 127.0.0.1:8080", "limits: {body: 25}", "1: limits.body: needs a number with a unit; write it like 64KiB or 25MiB"),
        ("listen: 127.0.0.1:8080", "limits: {uri: 1B}", "1: limits.uri: must be from 1KiB to 1MiB; write it like 16KiB"),
        ("listen: 127.0.0.1:8080", "drain: 0s", "1: drain: must be longer than zero; write it like 5s"),
        ("listen: 127.0.0.1:8080", "drain: 1:30", "1: drain: needs a number with a unit; write it like 330s, 250ms or 5m"),
        ("{env: APP_SECRET}", "{}", "6: credentials.app.client_secret: needs exactly one of `file` and `env`; write {file: /path} or {env: NAME}"),
        ("{env: APP_SECRET}", "{env: A-B}", "6: credentials.app.client_secret.env: is not the name of an environment variable; write it like ORDERS_SECRET"),
        ("{env: APP_SECRET}", "{env: NONE}", "6: credentials.app.client_secret.env: the environment variable `NONE` is not set; set it to the secret"),
        ("{env: APP_SECRET}", "[hunter2]", "6: credentials.app.client_secret: must hold keys of its own; write `key: value` lines under it"),
        ("an-id", "an-id\n    params: {scope: x}", "6: credentials.app.params: must not set scope; OAuth itself uses it, use the key of that name if any"),
        ("an-id", "an-id\n    scope: []", "6: credentials.app.scope: is empty; write the scope, or leave the key out"),
        ("an-id", "an-id\n    grant: password", "6: credentials.app.grant: is not a word known here; write 'client_credentials'"),
        ("an-id", "an-id\n    proxy: {url: 'http://p:1', username: 'a:b', password: {env: APP_SECRET}}", "6: credentials.app.proxy: has a colon in `username`; Basic authentication cannot carry it, use another user"),
        ("an-id", "an-id\n    proxy: {url: 'http://p:1', password: {env: APP_SECRET}}", "6: credentials.app.proxy: has a `password` but no `username`; write both or none"),
        ("https://idcs.example/", "ftp://idcs.example/", "4: credentials.app.token_url: is not an http or https URL with a host; write it like https://host/path"),
        ("https://idcs.example/", "https://me:hunter2@idcs.example/", "4: credentials.app.token_url: must not carry a user or password; give them by reference"),
        ("https://idcs.example/", "https://[idcs/", "4: credentials.app.token_url: is not a URL; write it like https://host/path"),
        ("https://idcs.example/", "https://idcs.example/ä", "4: credentials.app.token_url: has a blank or non-ASCII character; percent-encode it"),
        ("https://idcs.example/", "https://idcs!/", "4: credentials.app.token_url: has no valid host; write it like https://host/path"),
        ("https://acme.example/ic", "https://acme.example/%2E./ic", "10: routes[0].upstream: has a backslash, `.` or `..` in its path; write the path out"),
        ("https://acme.example/ic", "https://acme.example/?ic", "10: routes[0].upstream: must not have a query or fragment; leave off what follows the path"),
        ("name: orders", "name: or ders", "8: routes[0].name: is not a name; use up to 63 letters, digits, `.`, `_`, `-`, beginning with a letter or digit"),
        ("path: /orders/", "path: orders", "9: routes[0].path: does not begin with a slash; write it like /orders/"),
        ("credential: app", "credential: app\n    keep_cookies: no", "12: routes[0].keep_cookies: must be true or false; write true or false, without quotes"),
        ("credential: app", "credential: app\n    methods: []", "12: routes[0].methods: has no entry; write at least one"),
        ("credential: app", "credential: app\n    origins: ['https://a/b']", "12: routes[0].origins[0]: is not an origin; write it like https://app.example.com, without a path, or *"),
        ("credential: app", "credential: app\n    tls: {ca: none.pem}", "12: routes[0].tls.ca: the file `BASE/none.pem` cannot be read (No such file or directory); mend the path or its rights"),
        ("credential: app", "credential: app\n    tls: {ca: gateway.yaml}", "12: routes[0].tls.ca: the file `BASE/gateway.yaml` holds no certificates in PEM; name a PEM file of authorities"),
    ],
)  # fmt: skip
def test_one_mistake_gives_one_sentence(
    said: Say, right: str, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in right
    assert said(right.replace(old, new)) == [expected.replace("BASE", str(tmp_path))]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ":1: is empty; start from config/gateway.example.yaml"),
        (b"# nothing\n", ":1: is empty; start from config/gateway.example.yaml"),
        (b"\n- a\n", ":2: does not hold keys and values; start from config/gateway.example.yaml"),
        (b"listen: a\nhosts: [\xff]\n", ":2: is not UTF-8 text; save the file as UTF-8"),
        (b"#" * (1024 * 1024 + 1), ": is larger than 1 MiB; name the right file, or write less"),
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
        ("none.yaml", "does not exist; make it, or name another with --config"),
        ("", "cannot be read (Is a directory); mend its rights, or name another with --config"),
        ("a\0b", "cannot be read (not a path); mend its rights, or name another with --config"),
    ],
)
def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(ConfigProblems) as refused:
        load(f"{tmp_path}/{name}", environ={})
    assert [f"{problem.what}; {problem.remedy}" for problem in refused.value.problems] == [expected]


def test_a_byte_order_mark_is_no_problem(tmp_path: Path, right: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("\ufeff" + right, encoding="utf-8")
    assert load(file, environ={"APP_SECRET": "s"}).config.routes[0].name == "orders"


def test_files_count_from_the_folder_of_the_configuration(tmp_path: Path, right: str) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    ca = Path(ssl.get_default_verify_paths().cafile or "")
    (tmp_path / "ca.pem").write_bytes(ca.read_bytes() if ca.is_file() else b"")
    text = right.replace("{env: APP_SECRET}", "{file: secret}\n    tls: {ca: ca.pem}")
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    credential = load(file, environ={}, check_secrets=False).config.credentials["app"]
    assert credential.client_secret.file == str(tmp_path / "secret")
    assert credential.tls is not None
    assert credential.tls.ca == str(tmp_path / "ca.pem")


def test_unchecked_secrets_need_not_exist(tmp_path: Path, right: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(right)
    assert load(file, environ={}, check_secrets=False).warnings == ()


def test_a_doubtful_secret_is_a_warning_that_does_not_show_it(tmp_path: Path, right: str) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(right)
    loaded = load(file, environ={"APP_SECRET": "hunter2 "})
    assert [str(problem) for problem in loaded.warnings] == [
        f"{file}:6: credentials.app.client_secret.env: warning: the secret of `APP_SECRET` has white space at an end; "
        "take it out"
    ]


SECRET = "hunter2"


@pytest.mark.parametrize(
    "written",
    [
        f"client_secret: {SECRET}",
        f"client_secret: '{SECRET}",
        f"client_secret: *{SECRET}",
        f"client_secret: !{SECRET} x",
        f"client_secret: !{SECRET}!a x",
        f"client_secret: {{{SECRET}}}",
        f"client_secret: {{{SECRET}, {SECRET}}}",
        f"client_secret: {{? [{SECRET}] : x}}",
        f"client_secret: [{SECRET}]",
        f"client_secret: &{SECRET} &{SECRET} x",
        f"client_secret: {{file: [{SECRET}]}}",
        f"client_secret: {{env: '{SECRET}!'}}",
        f"client_secret: {{value: {SECRET}}}",
        f"client_secret: {{value: {{deep: {SECRET}}}}}",
        f"client_secret: >\n      {SECRET}",
        f"client_secret:{SECRET}",
        f"client_secret={SECRET}",
        f'"client_secret:{SECRET}": x',
        f"client_secrt: {SECRET}",
        f"client_secret: {SECRET}: x",
        f"client_secret: {SECRET}\n    client_secret: {SECRET}",
        f"client_secret: {{env: APP_SECRET}}\n    proxy: {{url: 'http://u:{SECRET}@h'}}",
        f"client_secret: {{env: APP_SECRET}}\n    proxy: {{url: 'http://h', username: a, password: {SECRET}}}",
        f"client_secret: {{env: APP_SECRET}}\n    proxy: {{url: 'http://h', username: a, password:{SECRET}}}",
        f"client_secret: {{env: APP_SECRET}}\n    params: {{client_secret: {SECRET}}}",
    ],
)
def test_a_secret_written_into_the_file_is_refused_and_never_shown(said: Say, right: str, written: str) -> None:
    problems = said(right.replace("client_secret: {env: APP_SECRET}", written))
    assert problems
    assert SECRET not in "\n".join(problems)


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
        problems, said = refused.problems, str(refused)
    else:
        assert isinstance(loaded, Loaded)
        return
    assert any(problem.severity == "error" for problem in problems)
    assert len(said.encode().splitlines()) == len(problems)


FLAGS = {"upstream": "https://acme.example/ic/", "token_url": "https://idcs.example/t", "client_id": "an-id"}


def test_flags_make_one_route(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    config = one_route(
        **FLAGS, client_secret_file=str(secret), scope="s", listen="0.0.0.0:80", allow=["10.0.0.0/8"], environ={}
    )
    assert (config.routes[0].name, config.routes[0].path, config.routes[0].credential) == ("default", "/", "default")
    assert config.credentials["default"].client_secret.file == str(secret)
    assert config.credentials["default"].scope == "s"
    assert (config.listen, config.admin) == ("0.0.0.0:80", "127.0.0.1:9090")
    assert [str(network) for network in config.allow] == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"client_secret_env": "S", "upstream": "acme"}, "--upstream: is not an http or https URL with a host; write it like https://host/path"),
        ({"client_secret_env": "S", "token_url": "x"}, "--token-url: is not an http or https URL with a host; write it like https://host/path"),
        ({"client_secret_env": "S", "client_id": ""}, "--client-id: is empty; write it"),
        ({"client_secret_env": "S", "scope": " "}, "--scope: is empty; write the scope, or leave the key out"),
        ({"client_secret_env": "S", "admin": "127.0.0.1:8080"}, "--admin: takes the same address as `listen`; give one of them another port"),
        ({"client_secret_env": "S", "allow": ["x"]}, "--allow: is not a network; write it like 10.0.0.0/8 or fd00::/8"),
        ({"client_secret_env": "NONE"}, "--client-secret-env: the environment variable `NONE` is not set; set it to the secret"),
        ({"client_secret_file": "/none"}, "--client-secret-file: the secret file `/none` is missing; make it, or mend the path"),
        ({}, "--client-secret-file: is missing; name the file that holds the client secret"),
        ({"client_secret_env": "S", "client_secret_file": "/none"}, "--client-secret-file: stands beside --client-secret-env; keep one of the two"),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_named_as_the_flag(flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigProblems) as refused:
        one_route(**{**FLAGS, **flags}, environ={"S": "x"})
    assert str(refused.value) == expected


def test_an_open_address_needs_allow_also_as_a_flag() -> None:
    with pytest.raises(ConfigProblems, match=r"^--listen: can be reached from other machines") as refused:
        one_route(**FLAGS, client_secret_env="S", listen="0.0.0.0:80", environ={"S": "x"})
    assert len(refused.value.problems) == 1
