"""What `check` reports of values that `init` would correct: errors that can never work, warnings that seldom do."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway.config.corrections.client_secret import client_id
from gateway.config.corrections.identity_domain import token_url
from gateway.config.corrections.integration_url import integration
from gateway.config.corrections.pasted_scope import scope
from gateway.config.load import ConfigProblems, load

DOMAIN = "https://idcs-0123456789abcdef0123456789abcdef.identity.oraclecloud.com"
TOKEN_URL = f"{DOMAIN}/oauth2/v1/token"
HOST = "acme.integration.us-phoenix-1.ocp.oraclecloud.com"
AUDIENCE = "https://0123456789ABCDEF0123456789ABCDEF.integration.us-phoenix-1.ocp.oraclecloud.com:443"
SCOPE = f"{AUDIENCE}urn:opc:resource:consumer::all"
FLOW = f"https://{HOST}/ic/api/integration/v1/flows/rest"
UPSTREAM = f"{FLOW}/ORDERS/1.0/"


def reported(folder: Path, *, upstream: str = UPSTREAM, path: str = "/orders/", **keys: Any) -> list[str]:
    """Each problem and warning as it is printed, without the file."""
    credential = {
        "token_url": TOKEN_URL,
        "client_id": "an-id",
        "client_secret": {"env": "SECRET"},
        "scope": SCOPE,
        **keys,
    }
    route = {"name": "orders", "path": path, "upstream": upstream, "credential": "app"}
    document = {"credentials": {"app": {key: value for key, value in credential.items() if value}}, "routes": [route]}
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    try:
        problems = load(file, environ={"SECRET": "a-secret"}).warnings
    except ConfigProblems as found:
        problems = found.problems
    assert all(problem.line > 1 for problem in problems)
    return [str(problem).partition(f"{file}:")[2].partition(": ")[2] for problem in problems]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/orders/", []),
        ("/ORDERS/1.0/", []),
        ("/a%7Cb/", []),
        ("/ORDERS|01.00.0000/", ["has code and version in the form of the console"]),
        ("/x/ORDERS%7c01.02/", ["has code and version in the form of the console"]),
        ("/a|b/", ["has a bare `|`, which most callers send as %7C"]),
    ],
)
def test_a_path_in_the_form_of_the_console_is_a_warning(tmp_path: Path, path: str, expected: list[str]) -> None:
    found = reported(tmp_path, path=path)
    assert [
        line.startswith(f"routes[0].path: warning: {text}") for line, text in zip(found, expected, strict=True)
    ] == [True] * len(expected)


@pytest.mark.parametrize(
    ("token_url", "upstream", "is_reported"),
    [
        ("https://login.corp.example/oauth2/v1/token", UPSTREAM, True),
        ("https://login.corp.example/oauth2/v1/token", "https://api.example/", False),
        ("https://login.corp.example/token", UPSTREAM, False),
    ],
)
def test_a_domain_under_another_name_needs_a_scope(
    tmp_path: Path,
    token_url: str,
    upstream: str,
    is_reported: bool,  # noqa: FBT001
) -> None:
    found = reported(tmp_path, upstream=upstream, token_url=token_url, scope=None)
    assert any("scope: warning: is missing" in line for line in found) == is_reported


def test_good_values_are_silent(tmp_path: Path) -> None:
    assert reported(tmp_path) == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"client_id": "\u201capp\u201d"}, "client_id: has the character U+201C"),
        ({"client_id": "app\u200b"}, "client_id: has the character U+200B"),
        ({"client_id": "a\u00a0b"}, "client_id: has the character U+00A0"),
        ({"scope": f"\u201c{SCOPE}\u201d"}, "scope: has the character U+201C"),
        ({"scope": SCOPE.replace(":443", ":443\u200b")}, "scope: has the character U+200B"),
        ({"scope": [SCOPE, "offline\u2011access"]}, "scope: has the character U+2011"),
        ({"scope": 'a"b'}, "scope: has a character that is not allowed in scopes"),
        ({"token_url": f"\u201c{TOKEN_URL}\u201d"}, "token_url: has the character U+201C"),
        ({"token_url": f"{TOKEN_URL}\u00a0"}, "token_url: has the character U+00A0"),
        ({"token_url": DOMAIN}, "token_url: is not the token endpoint of an identity domain"),
        ({"token_url": f"{DOMAIN}:443/"}, "token_url: is not the token endpoint of an identity domain"),
        ({"token_url": f"{DOMAIN}/oauth2/v1/authorize"}, "token_url: is not the token endpoint of an identity domain"),
        ({"token_url": f"{TOKEN_URL}/"}, "token_url: is not the token endpoint of an identity domain"),
        ({"token_url": "https://cloud.oracle.com/identity"}, "token_url: is an address of the cloud console"),
        ({"token_url": f"https://{HOST}/oauth2/v1/token"}, "token_url: is an address of the OIC instance"),
        ({"token_url": "https://identity.oraclecloud.com/"}, "token_url: is the issuer that all identity domains"),
        ({"upstream": f"{FLOW}/ORDERS|01.00.0000"}, "upstream: has code and version in the form of the console"),
        ({"upstream": f"{FLOW}/ORDERS%7C01.00.0000/"}, "upstream: has code and version in the form of the console"),
        ({"upstream": f"{FLOW}/project/P/ORDERS|1.0/x"}, "upstream: has code and version in the form of the console"),
        ({"upstream": "https://cloud.oracle.com/x"}, "upstream: is a page of the console"),
        (
            {"upstream": UPSTREAM.replace("acme", "design")},
            "upstream: is on the design host, which runs no integrations",
        ),
        ({"upstream": f"{UPSTREAM}\u201d"}, "upstream: has the character U+201D"),
    ],
)
def test_what_can_never_work_is_an_error(tmp_path: Path, keys: dict[str, Any], expected: str) -> None:
    [problem] = reported(tmp_path, **keys)
    place = "routes[0]" if "upstream" in keys else "credentials.app"
    assert problem.startswith(f"{place}.{expected}")
    assert "; " in problem


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"client_id": "'app'"},
            "client_id: warning: does not have the form that identity domains accept; remove the quotes",
        ),
        ({"client_id": "\u00e4pp"}, "client_id: warning: has a character that is not allowed in client ids"),
        ({"upstream": f"https://{HOST}/ic/home"}, "upstream: warning: is a page of the console"),
        ({"client_id": "My Application"}, "client_id: warning: has white space in it"),
        (
            {"client_id": " app"},
            "client_id: warning: does not have the form that identity domains accept; remove the white",
        ),
        ({"scope": None}, "scope: warning: is missing: identity domains then give no token that OIC accepts; copy it"),
        ({"scope": SCOPE.replace("urn", "/urn")}, "scope: warning: has a slash before `urn`"),
        (
            {"scope": AUDIENCE},
            "scope: warning: does not have the form that identity domains accept; add urn:opc:resource",
        ),
        ({"scope": SCOPE.replace("consumer::all", "consumer:all")}, "scope: warning: does not have the form"),
        (
            {"scope": SCOPE.replace(":443", "")},
            "scope: warning: does not have the form that identity domains accept; add `:443`",
        ),
        ({"scope": f"{AUDIENCE}/ic/api/"}, "scope: warning: /ic/api/ is for the developer API only"),
        ({"scope": UPSTREAM}, "scope: warning: is a URL of the instance, not a scope"),
        ({"scope": f"{SCOPE} {AUDIENCE}/ic/api/"}, "scope: warning: has several resources"),
        (
            {"scope": SCOPE.replace("us-phoenix-1", "eu-frankfurt-1")},
            "scope: warning: the audience is in another region",
        ),
        ({"scope": SCOPE.replace("0123456789ABCDEF0123456789ABCDEF", "acme")}, "scope: warning: an audience is 32 hex"),
        ({"token_url": "https://sso.corp.example"}, "token_url: warning: has no path"),
        ({"audience": "\u201caud\u201d"}, "audience: warning: has the character U+201C"),
        ({"upstream": f"{UPSTREAM}metadata"}, "upstream: warning: ends with `/metadata`"),
        (
            {"upstream": f"{FLOW}/ORDERS/01.00.0000/"},
            "upstream: warning: has code and version in the form of the console",
        ),
        ({"upstream": f"{FLOW}//ORDERS/1.0/"}, "upstream: warning: has an empty segment"),
        ({"upstream": f"{DOMAIN}/admin/v1/Users"}, "upstream: warning: is an address of the identity domain"),
        ({"upstream": "https://oic.example/a|b"}, "upstream: warning: has a bare `|`"),
    ],
)
def test_what_seldom_works_is_a_warning(tmp_path: Path, keys: dict[str, Any], expected: str) -> None:
    [problem] = reported(tmp_path, **keys)
    place = "routes[0]" if "upstream" in keys else "credentials.app"
    assert problem.startswith(f"{place}.{expected}")
    assert "; " in problem


@pytest.mark.parametrize(
    "keys",
    [
        {"upstream": f"https://{HOST}/"},
        {"upstream": f"{FLOW}/"},
        {"upstream": f"{FLOW}/project/P/"},
        {"upstream": f"{FLOW}/ORDERS/1.0/below/"},
        {"upstream": f"https://{HOST}/ic/api/integration/v1/", "scope": f"{AUDIENCE}/ic/api/"},
        {"upstream": "https://console.corp.example/api/"},
        {"token_url": "https://sso.corp.example/token"},
        {"token_url": "https://sso.corp.example", "token_url_": None, "scope": "a"} | {"token_url": TOKEN_URL},
        {"scope": f"{SCOPE} offline_access"},
        {"scope": "api.read api.write", "token_url": "https://sso.corp.example/token"},
        {"scope": None, "token_url": "https://sso.corp.example/token"},
        {"scope": f"{SCOPE} {AUDIENCE}/ic/api/ urn:opc:resource:multiresourcescope"},
    ],
)
def test_what_may_be_meant_is_silent(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert reported(tmp_path, **keys) == []


def test_what_init_writes_is_good(tmp_path: Path) -> None:
    leads = integration(f"{UPSTREAM}metadata")
    keys = {
        "token_url": token_url(DOMAIN).value,
        "client_id": client_id("\u201capp\u201d").value,
        "scope": scope(AUDIENCE, leads).value,
    }
    assert reported(tmp_path, upstream=leads.upstream, **keys) == []


@pytest.mark.parametrize(("mode", "is_reported"), [(0o644, True), (0o606, True), (0o640, False), (0o400, False)])
def test_a_secret_file_that_everybody_can_read_is_a_warning(tmp_path: Path, mode: int, *, is_reported: bool) -> None:
    file = tmp_path / "secret"
    file.write_text("a-secret", encoding="utf-8")
    file.chmod(mode)
    found = reported(tmp_path, client_secret={"file": "secret"})
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert [problem.partition("; ")[2] for problem in found] == (
        ["`chmod 600` it, for the user that the gateway runs as"] if is_reported else []
    )
    assert all(f"the secret file `{file}` can be read by every user" in problem for problem in found)
