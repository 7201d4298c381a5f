"""The path of an issue and its printed form; no secret is shown."""

import pytest

from gateway.config.issue import LocatedIssue, Steps, dotted_path


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ((), ""),
        (("routes", 2, "upstream"), "routes[2].upstream"),
        (("credentials", "orders-app", "client_secret"), "credentials.orders-app.client_secret"),
        (("credentials", "a", "client_secret", "file"), "credentials.a.client_secret.file"),
        (("credentials", "a", "client_secret", "hunter2"), "credentials.a.client_secret"),
        (("routes", 0, "proxy", "password", "hunter2", 1), "routes[0].proxy.password"),
        (("credentials", "client_secret:hunter2"), "credentials.?"),
        (("credentials", "a", "client_secret", 1, "env"), "credentials.a.client_secret[1].env"),
        (("credentials", "a", "client_secret", 1, "hunter2"), "credentials.a.client_secret[1]"),
        (("credentials", "a", "signing", "private_key", "hunter2"), "credentials.a.signing.private_key"),
    ],
)
def test_steps_become_a_path_without_secrets(steps: Steps, path: str) -> None:
    assert dotted_path(steps) == path


def test_issue_is_printed_on_one_line() -> None:
    assert str(LocatedIssue("f.yaml", 3, "a.b", "is wrong", "fix it")) == "f.yaml:3: a.b: is wrong; fix it"
    assert str(LocatedIssue("f.yaml", 0, "", "is wrong", "fix it")) == "f.yaml: is wrong; fix it"
    assert str(LocatedIssue("", 0, "--listen", "is wrong", "fix it")) == "--listen: is wrong; fix it"
    assert str(LocatedIssue("f", 1, "a", "odd", "see", "warning")) == "f:1: a: warning: odd; see"
