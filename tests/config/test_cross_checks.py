"""Problems that involve several keys, and ambiguous paths."""

import re
import socket
from collections.abc import Callable

import pytest

ProblemsOf = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/a//b", "has an empty segment (`//`)"),
        ("/a/../b", "has a `.` or `..` segment"),
        ("/a/.", "has a `.` or `..` segment"),
        ("/a/%2e%2E/b", "has a `.` or `..` segment"),
        ("/a/.%2e", "has a `.` or `..` segment"),
        ("/a%2eb", "has an encoded dot (`%2e`)"),
        ("/a%2Fb", "has an encoded slash (`%2f`)"),
        ("/a%00b", "has an encoded NUL (`%00`)"),
        ("/a?b", "has a `?` or `#`"),
        ("/a#b", "has a `?` or `#`"),
        ("/a\\b", "has a backslash"),
        ("/ä", "has a space or non-ASCII character"),
        ("/a b", "has a space or non-ASCII character"),
        ("/a%2", "has a `%` without two hex digits"),
    ],
)
def test_ambiguous_path_is_rejected(problems_of: ProblemsOf, valid: str, path: str, what: str) -> None:
    (problem,) = problems_of(valid.replace("path: /orders/", f"path: '{path}'"))
    assert problem.startswith(f"9: routes[0].path: {what}; ")


@pytest.mark.parametrize("path", ["/", "/orders", "/a.b/..c/...", "/x%7Cy", "/~user/"])
def test_plain_path_is_accepted(problems_of: ProblemsOf, valid: str, path: str) -> None:
    assert problems_of(valid.replace("path: /orders/", f"path: '{path}'")) == []


OPEN = "can be reached from other machines, but `allow` names no network"
CLASH = "is the same address as"


@pytest.mark.parametrize(
    ("first_line", "expected"),
    [
        ("listen: 0.0.0.0:8080", [("listen", OPEN)]),
        ("listen: '[::]:8080'", [("listen", OPEN)]),
        ("listen: gw.example.com:8080", [("listen", OPEN)]),
        ("admin: 10.1.2.3:9090", [("admin", OPEN)]),
        ("{listen: 0.0.0.0:1, allow: []}", [("listen", OPEN)]),
        ("{listen: 0.0.0.0:1, admin: 0.0.0.0:2, allow: [10.0.0.0/8]}", []),
        ("listen: '[::1]:8080'", []),
        ("listen: LocalHost:8080", []),
        ("listen: unix:/run/gw.sock", []),
        ("listen: 127.0.0.1:9090", [("listen", f"{CLASH} `admin`")]),
        ("admin: localhost:8080", [("admin", f"{CLASH} `listen`")]),
        ("{listen: 0.0.0.0:1, admin: 127.0.0.1:1, allow: [10.0.0.0/8]}", [("admin", f"{CLASH} `listen`")]),
        ("{listen: unix:/a, admin: unix:/a}", [("admin", f"{CLASH} `listen`")]),
        ("{listen: unix:/a, admin: unix:/b}", []),
        ("{listen: 127.0.0.1:0, admin: 127.0.0.1:0}", []),
        ("listen: [127.0.0.1:1, 127.0.0.1:2, unix:/a]", []),
        ("listen: [127.0.0.1:0, 127.0.0.1:0]", []),
        ("listen: [127.0.0.1:1, 10.0.0.1:1]", [("listen[1]", OPEN)]),
        ("listen: [127.0.0.1:1, {address: localhost:1}]", [("listen[1].address", f"{CLASH} `listen[0]`")]),
        ("listen: [unix:/a, unix:/b, unix:/a]", [("listen[2]", f"{CLASH} `listen[0]`")]),
        ("listen: [127.0.0.1:1, 127.0.0.1:9090]", [("listen[1]", f"{CLASH} `admin`")]),
        (
            "{listen: [0.0.0.0:1, 127.0.0.1:1], admin: 127.0.0.1:1, allow: [10.0.0.0/8]}",
            [("listen[1]", f"{CLASH} `listen[0]`"), ("admin", f"{CLASH} `listen[0]`")],
        ),
    ],
)
def test_address_clash_or_open_address_is_reported(
    problems_of: ProblemsOf, valid: str, first_line: str, expected: list[tuple[str, str]]
) -> None:
    lines = re.sub(", (?=admin|allow)", "\n", first_line.strip("{}") if first_line.startswith("{") else first_line)
    problems = problems_of(valid.replace("listen: 127.0.0.1:8080", lines))
    assert [tuple(problem.split("; ")[0].split(": ", 2)[1:]) for problem in problems] == expected


REMOTE = "lets other machines stop the gateway: `admin` is not loopback"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("admin_quit: true", []),
        ("admin_quit: true\nadmin: unix:/run/admin", []),
        ("admin_quit: true\nadmin: '[::1]:9090'", []),
        ("admin_quit: true\nadmin: localhost:9090\nallow: [10.0.0.0/8]\nlisten: 0.0.0.0:1", []),
        ("admin_quit: true\nadmin: 0.0.0.0:9090\nallow: [10.0.0.0/8]", [True]),
        ("admin_quit: true\nadmin: gw.example.com:9090\nallow: [10.0.0.0/8]", [True]),
        ("admin_quit: false\nadmin: 0.0.0.0:9090\nallow: [10.0.0.0/8]", []),
    ],
)
def test_quit_is_for_this_machine_only(problems_of: ProblemsOf, valid: str, lines: str, expected: list[bool]) -> None:
    problems = problems_of(valid.replace("listen: 127.0.0.1:8080", lines))
    assert [REMOTE in problem for problem in problems] == expected


SECOND = """
  - name: second
    path: /second
    upstream: https://acme.example/ic/
"""


def test_route_requires_a_credential(problems_of: ProblemsOf, valid: str) -> None:
    text = valid.rstrip("\n") + SECOND
    remedy = "add `credential: NAME` here or under `defaults`"
    assert problems_of(text) == [f"12: routes[1]: has no credential; {remedy}"]
    assert problems_of(f"{text}defaults: {{credential: app}}\n") == []


def test_unknown_credential_of_defaults_is_reported(problems_of: ProblemsOf, valid: str) -> None:
    (problem,) = problems_of(f"{valid}defaults: {{credential: other}}\n")
    assert problem == (
        "12: defaults.credential: names the credential `other` that does not exist; the credentials are app"
    )


def test_duplicate_route_name_is_rejected(problems_of: ProblemsOf, valid: str) -> None:
    text = valid.rstrip("\n") + SECOND.replace("second\n    path", "orders\n    path") + "    credential: app\n"
    assert problems_of(text) == ["12: routes[1].name: is the same as that of routes[0]; rename one route"]


def test_unused_credential_is_a_warning(problems_of: ProblemsOf, valid: str) -> None:
    spare = "  spare: {token_url: 'https://i/t', client_id: x, client_secret: {env: APP_SECRET}}\n"
    (warning,) = problems_of(valid.replace("routes:\n", f"{spare}routes:\n"))
    assert warning == ("7: credentials.spare: warning: is not used by any route; remove it, or use it in a route")


def test_unencrypted_urls_require_insecure(problems_of: ProblemsOf, valid: str) -> None:
    clear = valid.replace("https:", "HTTP:")
    remedy = "use https, or set `insecure: true` in the {} if the network is trusted".format
    assert problems_of(clear) == [
        f"4: credentials.app.token_url: sends the client secret unencrypted; {remedy('credential')}",
        f"10: routes[0].upstream: sends the token unencrypted; {remedy('route')}",
    ]
    allowed = clear.replace("    token_url:", "    insecure: true\n    token_url:")
    allowed = allowed.replace("    upstream:", "    insecure: true\n    upstream:")
    assert problems_of(allowed) == []
    assert len(problems_of(allowed.replace("insecure: true", "insecure: false"))) == 2
    assert len(problems_of(valid.replace("    upstream:", "    design: http://design.example\n    upstream:"))) == 1
    for host in ("127.0.0.1", "[::1]:8181", "localhost:1"):
        local = valid.replace("https://idcs.example", f"http://{host}")
        assert problems_of(local.replace("https://acme.example", f"http://{host}")) == []


@pytest.mark.parametrize("scope", ["'https://H:443/urn:opc:resource:consumer::all'", "[a, 'b/urn:opc:resource:x']"])
def test_slash_before_urn_is_a_warning(problems_of: ProblemsOf, valid: str, scope: str) -> None:
    (warning,) = problems_of(valid.replace("an-id", f"an-id\n    scope: {scope}"))
    assert warning.startswith("6: credentials.app.scope: warning: has a slash before `urn`")


def test_authorization_code_requires_state(problems_of: ProblemsOf, valid: str) -> None:
    text = valid.replace("client_secret:", "grant: authorization_code\n    client_secret:")
    (problem,) = problems_of(text)
    assert problem.startswith(
        "6: credentials.app.grant: requires `state` at the top level of the file, which stores the sign-in; add `state"
    )
    assert problems_of(f"{text}state: {{path: s.db, keys: [{{env: STATE_KEY}}]}}\n") == []


def test_configured_refresh_token_without_state_is_a_warning(problems_of: ProblemsOf, valid: str) -> None:
    keys = "grant: refresh_token\n    refresh_token: {env: APP_SECRET}\n    client_secret:"
    (warning,) = problems_of(valid.replace("client_secret:", keys))
    assert "credentials.app.grant: warning: requires `state` at the top level: a rotated refresh token" in warning


SELF = "leads to this gateway itself"


@pytest.mark.parametrize(
    ("listen", "host", "is_reported"),
    [
        ("0.0.0.0:8080", "127.9.9.9:8080", True),
        ("0.0.0.0:8080", f"{socket.gethostname()}:8080", True),
        ("0.0.0.0:8080", f"{socket.gethostname()}:8081", False),
        ("0.0.0.0:8080", "192.0.2.199:8080", False),
        ("127.0.0.1:8080", f"{socket.gethostname()}:8080", False),
    ],
)
def test_other_addresses_of_this_machine_are_found(
    problems_of: ProblemsOf,
    valid: str,
    listen: str,
    host: str,
    is_reported: bool,  # noqa: FBT001
) -> None:
    text = valid.replace("listen: 127.0.0.1:8080", f"listen: {listen}\nallow: [10.0.0.0/8]")
    found = problems_of(text.replace("https://acme.example/", f"https://{host}/"))
    assert any(SELF in line for line in found) == is_reported


@pytest.mark.parametrize(
    ("listen", "upstream", "is_itself"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/x/", True),
        ("127.0.0.1:8080", "http://LOCALHOST:8080/x/", True),
        ("127.0.0.1:8080", "https://[::1]:8080/x/", True),
        ("localhost:8080", "http://127.0.0.1:8080/x/", True),
        ("127.0.0.1:443", "https://127.0.0.1/x/", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8081/x/", False),
        ("127.0.0.1:8080", "http://127.0.0.1/x/", False),
        ("127.0.0.1:0", "http://127.0.0.1:8080/x/", False),
        ("unix:/run/gw.sock", "http://127.0.0.1:8080/x/", False),
        ("127.0.0.1:8080", "http://127.0.0.1:9090/x/", True),
        ("[unix:/a, {address: 127.0.0.1:8081}]", "http://127.0.0.1:8081/x/", True),
        ("[unix:/a, {address: 127.0.0.1:8081}]", "http://127.0.0.1:8080/x/", False),
    ],
)
def test_upstream_that_is_the_gateway_is_rejected(
    problems_of: ProblemsOf, valid: str, listen: str, upstream: str, *, is_itself: bool
) -> None:
    text = f"listen: {listen}\n" + re.sub("upstream: .*", f"upstream: {upstream}", valid)
    assert any(SELF in problem for problem in problems_of(text)) is is_itself


def test_upstream_with_public_name_of_gateway_is_reported(problems_of: ProblemsOf, valid: str) -> None:
    text = re.sub("upstream: .*", "upstream: https://gw.example.com/x/", valid)
    assert not any(SELF in problem for problem in problems_of(text))
    assert any(SELF in problem for problem in problems_of(f"public_url: https://GW.example.com/\n{text}"))
    assert any(SELF in problem for problem in problems_of(f"listen: 127.0.0.1:443\nhosts: [gw.example.com]\n{text}"))
    assert not any(SELF in problem for problem in problems_of(f"hosts: [gw.example.com]\n{text}"))


def test_token_url_that_is_the_gateway_is_rejected(problems_of: ProblemsOf, valid: str) -> None:
    text = re.sub("token_url: .*", "token_url: http://localhost:8080/oauth2/v1/token", valid)
    assert any(SELF in problem and "identity domain" in problem for problem in problems_of(text))


def test_client_ca_is_not_taken_for_a_requirement(problems_of: ProblemsOf, valid: str) -> None:
    def warnings(more: str) -> list[str]:
        listen = f"listen: [{{address: 127.0.0.1:1, tls: {{cert: a.pem, client_ca: b.pem{more}}}}}]"
        found = problems_of(valid.replace("listen: 127.0.0.1:8080", listen))
        return [problem for problem in found if "keep out callers" in problem]

    [warning] = warnings("")
    assert warning.startswith("1: listen[0].tls.client_ca: warning: does not keep out callers without a certificate")
    assert warnings(", client_certificate: required") == warnings(", client_certificate: optional") == []


def test_proxy_protocol_needs_peers_with_an_address(problems_of: ProblemsOf, valid: str) -> None:
    listen = "listen: [{address: 'unix:/run/gw', proxy_protocol: [10.0.0.5/32]}]"
    assert problems_of(valid.replace("listen: 127.0.0.1:8080", listen)) == [
        "1: listen[0]: has `proxy_protocol` on a unix socket, whose peers have no address; use HOST:PORT"
    ]
