"""Callers across keys: unknown names, unused callers, equal proofs, weak secrets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.caller_rules import check_callers
from gateway.config.references import check_references
from gateway.config.secret_strength import estimate_bits

ProblemsOf = Callable[[str], list[str]]
STRONG, OTHER = "0123456789abcdef" * 2 + "x", "0123456789ABCDEF" * 2 + "X"


def issues(callers: dict[str, Any], *routes: list[str]) -> list[str]:
    tree = {"callers": callers, "routes": [{"callers": names} for names in routes or [list(callers)]]}
    return [f"{'.'.join(map(str, found.steps))}: {found.what}" for found in check_callers(tree)]


def test_callers_that_are_used_are_good() -> None:
    assert issues({"a": {"networks": ["10.0.0.0/8"]}, "b": {"networks": ["11.0.0.0/8", "fd00::/8"]}}) == []
    assert issues({}) == []


def test_unknown_name_and_unused_caller_are_reported() -> None:
    found = issues({"erp": {}, "scanner": {}}, ["epr"], ["scanner"])
    assert found == [
        "routes.0.callers.0: names the caller `epr` that does not exist",
        "callers.erp: is not used by any route",
    ]


def test_names_under_defaults_count() -> None:
    tree = {"callers": {"a": {}}, "defaults": {"callers": ["a", "b"]}}
    assert [found.steps for found in check_callers(tree)] == [("defaults", "callers", 1)]


@pytest.mark.parametrize(
    ("one", "other", "at"),
    [
        ({"certificate": {"dns": "a"}}, {"certificate": {"dns": "a"}}, "certificate.dns"),
        (
            {"certificate": {"sha256": "AB" * 32}},
            {"certificate": {"sha256": ":".join(["ab"] * 32)}},
            "certificate.sha256",
        ),
        ({"unix_user": 7}, {"unix_user": "7"}, "unix_user"),
        ({"networks": ["10.0.0.0/8"]}, {"networks": ["10.1.0.0/16"]}, "networks.0"),
        ({"networks": ["10.0.0.0/8"]}, {"networks": ["9.0.0.0/8", "10.0.0.0/8"]}, "networks.1"),
    ],
)
def test_equal_proofs_of_two_callers_are_errors(one: dict[str, Any], other: dict[str, Any], at: str) -> None:
    [found] = issues({"a": one, "b": other})
    assert found.startswith(f"callers.b.{at}: is")
    assert found.endswith("a proof of the caller `a`")


def test_networks_of_one_caller_may_overlap() -> None:
    assert issues({"a": {"networks": ["10.0.0.0/8", "10.1.0.0/16"]}, "b": {"networks": ["fd00::/8"]}}) == []


def test_a_network_inside_two_others_is_found() -> None:
    callers = {"a": {"networks": ["10.0.0.0/8"]}, "b": {"networks": ["10.1.0.0/16", "10.3.0.0/16"]}}
    assert len(issues(callers)) == 2


def secret_issues(environ: dict[str, str], **callers: Any) -> list[tuple[str, str]]:
    found = check_references({"callers": callers}, base=Path(), environ=environ)
    return [(".".join(map(str, each.steps)), each.severity) for each in found]


def test_weak_secret_is_a_warning() -> None:
    environ = {"WEAK": "summer2026", "STRONG": STRONG, "OTHER": OTHER}
    basic = {"username": "erp", "password": {"env": "WEAK"}}
    assert secret_issues(environ, a={"basic": basic}) == [("callers.a.basic.password", "warning")]
    assert secret_issues(environ, a={"api_key": [{"env": "STRONG"}, {"env": "WEAK"}]}) == [
        ("callers.a.api_key.1", "warning")
    ]
    assert (
        secret_issues(environ, a={"api_key": {"env": "STRONG"}}, b={"wsse": basic | {"password": {"env": "OTHER"}}})
        == []
    )


def test_equal_secrets_of_two_callers_are_errors() -> None:
    environ = {"ONE": STRONG, "SAME": STRONG, "OTHER": OTHER}

    def basic(name: str, user: str = "u") -> dict[str, Any]:
        return {"basic": {"username": user, "password": {"env": name}}}

    assert secret_issues(environ, a=basic("ONE"), b=basic("SAME")) == [("callers.b.basic.password", "error")]
    assert secret_issues(environ, a=basic("ONE"), b=basic("SAME", "v")) == []
    assert secret_issues(environ, a=basic("ONE"), b=basic("OTHER")) == []
    keys = {"api_key": [{"env": "OTHER"}, {"env": "SAME"}]}
    assert secret_issues(environ, a={"api_key": {"env": "ONE"}}, b=keys) == [("callers.b.api_key.1", "error")]


def test_unknown_unix_user_is_an_error() -> None:
    assert secret_issues({}, a={"unix_user": "no-such-user"}, b={"unix_user": "root"}, c={"unix_user": "4711"}) == [
        ("callers.a.unix_user", "error")
    ]


@pytest.mark.parametrize("number", [str(2**32 - 1), "9" * 5000, "٣"])
def test_a_number_that_no_user_can_have_is_an_error(number: str) -> None:
    assert secret_issues({}, a={"unix_user": number}) == [("callers.a.unix_user", "error")]


SHAPES = {
    "no proof": ("{}", "callers.a: has no proof"),
    "a secret in the file": ("{api_key: abc}", "callers.a.api_key: a secret must not be in the file"),
    "a user with a colon": ("{basic: {username: 'a:b', password: {env: APP_SECRET}}}", "has a colon"),
    "two names of a certificate": ("{certificate: {dns: a, cn: b}}", "needs exactly one of"),
    "a fingerprint that is none": ("{certificate: {sha256: abc}}", "is not a SHA-256 fingerprint"),
    "an unknown proof": ("{basik: 1}", "callers.a.basik: is not a known key; did you mean `basic`?"),
    "an empty list of networks": ("{networks: []}", "callers.a.networks: is an empty list"),
}


@pytest.mark.parametrize(("settings", "what"), SHAPES.values(), ids=SHAPES)
def test_shapes_that_are_refused(problems_of: ProblemsOf, valid: str, settings: str, what: str) -> None:
    problems = problems_of(f"{valid}    callers: [a]\ncallers:\n  a: {settings}\n")
    assert any(what in problem for problem in problems), problems


def test_no_secret_of_a_caller_is_shown(problems_of: ProblemsOf, valid: str) -> None:
    problems = problems_of(f"{valid}    callers: [a]\ncallers: {{a: {{api_key: {{env: APP_SECRET}}}}}}\n")
    assert len(problems) == 1
    assert "hunter2" not in problems[0]


BITS = {"": 0, "0": 3, "0123456789" * 3: 99, "0123456789abcdef" * 2: 128, "a" * 100: 4, "aB3" * 8: 142, "ä" * 3: 6}


@pytest.mark.parametrize(("secret", "bits"), BITS.items())
def test_bits_are_those_of_a_random_secret(secret: str, bits: int) -> None:
    assert int(estimate_bits(secret)) == bits


@given(st.text())
def test_every_secret_has_an_estimate(secret: str) -> None:
    assert 0 <= estimate_bits(secret) <= 8 * len(secret)


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"rate": "1/s", "quota": {"calls": "3601/h"}}, 3600),
        ({"rate": "1/m", "burst": 20, "quota": {"calls": "2000/d"}}, 1460),
        ({"rate": "1/s", "burst": 1, "quota": {"calls": "3601/h"}}, None),
        ({"rate": "nix", "burst": "nix", "quota": "nix"}, None),
        ({"quota": {"calls": "9/h"}}, None),
    ],
)
def test_a_quota_that_the_rate_cannot_reach_is_warned_of(limits: dict[str, Any], most: int | None) -> None:
    what = f"callers.a.quota.calls: is never reached: `rate` allows {most} calls in that time"
    assert issues({"a": limits}) == ([] if most is None else [what])


def test_all_problems_of_limits_are_reported_at_once(problems_of: ProblemsOf, valid: str) -> None:
    found = problems_of(
        valid
        + """    callers: [a, b, c]
callers:
  a: {networks: [10.0.0.0/8], rate: 10, burst: 0, quota: {calls: 100/m, messages: 5}}
  b: {networks: [11.0.0.0/8], quota: {}}
  c: {networks: [12.0.0.0/8], burst: 5}
"""
    )
    period = "needs a number above 0 and a period; write it like"
    assert found == [
        f"14: callers.a.rate: {period} 10/s, 600/m, 5000/h or 20000/d",
        "14: callers.a.burst: is too small; write 1 or more",
        f"14: callers.a.quota.calls: {period} 5000/h or 20000/d; for shorter periods use `rate`",
        f"14: callers.a.quota.messages: {period} 5000/h or 20000/d; for shorter periods use `rate`",
        "15: callers.b.quota: is empty; write {calls: 5000/h} or {messages: 8000/h}, or remove it",
        "16: callers.c: has `burst` but no `rate`; add `rate`, or remove `burst`",
    ]
