"""Problems of `console`, each with its place."""

import textwrap
from collections.abc import Callable

import pytest

Problems = Callable[[str], list[str]]


def console(text: str) -> str:
    return "console:\n" + textwrap.indent(textwrap.dedent(text).strip(), "  ") + "\n"


SIGN_IN = "sign_in: {issuer: https://idp.example, client_id: x}\n"
ROLES = 'roles: {viewer: ["*"]}\n'
URL = "url: https://gw.example.com\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (URL, ["console.url: is of other machines"]),
        (URL + SIGN_IN + ROLES, []),
        (SIGN_IN + ROLES, ["console.sign_in: requires `url`"]),
        (URL + SIGN_IN, ["console.roles: names no group"]),
        (URL + SIGN_IN + "roles: {}\n", ["console.roles: names no group"]),
        (URL + ROLES + "sign_in: {issuer: http://idp.example, client_id: x}", ["console.sign_in.issuer: is not e"]),
        (URL + ROLES + "sign_in: {issuer: http://127.0.0.1:8, client_id: x}", []),
        (URL + ROLES + "sign_in: {issuer: 'https://idp.example/?a', client_id: x}", ["console.sign_in.issuer: has"]),
        (
            URL + ROLES + "sign_in: {issuer: https://idp.example, client_id: x, scope: profile}",
            ["console.sign_in.scope: does not"],
        ),
        ("url: http://localhost:9090\n", []),
        ("session: {idle: 2h, longest: 1h}", ["console.session.idle: warning: is longer than `longest`"]),
        (ROLES, ["console.roles: warning: has no effect"]),
        ("url: https://gw.example.com/path\n" + SIGN_IN + ROLES, ["console.url: must be a host without a path"]),
        ("roles: {viewer: []}\n" + URL + SIGN_IN, ["console.roles.viewer: ", "console.roles: names no group"]),
        ("users: missing-file", ["console.users: the file"]),
        ("audit: missing/audit.jsonl", ["console.audit: `"]),
        (f"audit: {'a' * 300}/audit.jsonl", ["console.audit: `"]),
    ],
)  # fmt: skip
def test_problems_of_the_console(valid: str, problems_of: Problems, text: str, expected: list[str]) -> None:
    found = problems_of(console(text) + valid)
    assert [line for line, start in zip(sorted(found), sorted(expected), strict=True) if start not in line] == []
