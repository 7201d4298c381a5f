"""`services`: limits of calls at once, and the routes that belong to them."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.config.model import Config
from gateway.config.resolved import resolve, services_by_origin

ProblemsOf = Callable[[str], list[str]]


def service(text: str) -> str:
    """One service, at line 13."""
    return f"services:\n  acme: {{url: 'https://acme.example', {text}}}\n"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ({}, None),
        ({"packs": 1}, 90),
        ({"packs": 2, "licence": "included"}, 180),
        ({"packs": 1, "licence": "byol"}, 360),
        ({"packs": 30}, 1800),
        ({"packs": 2, "calls": 150}, 150),
        ({"calls": 7}, 7),
    ],
)
def test_limit_follows_packs_or_calls(text: dict[str, Any], limit: int | None) -> None:
    [(_, entry)] = services_by_origin(config({"acme": {"url": "https://acme.example", **text}})).values()
    assert entry.limit == limit


def config(services: dict[str, Any], upstream: str = "https://acme.example/ic/x") -> Config:
    credential = {"token_url": "https://i/t", "client_id": "c", "client_secret": {"env": "S"}}
    route = {"name": "r", "path": "/r/", "upstream": upstream, "credential": "a"}
    return Config.model_validate({"credentials": {"a": credential}, "routes": [route], "services": services})


@pytest.mark.parametrize(
    ("upstream", "url", "is_member"),
    [
        ("https://acme.example/ic/x", "https://acme.example", True),
        ("https://ACME.example:443/ic/x", "https://acme.example", True),
        ("https://acme.example/ic/x", "https://Acme.Example:443/", True),
        ("http://acme.example/ic/x", "https://acme.example", False),
        ("https://acme.example:8443/ic/x", "https://acme.example", False),
        ("https://acme.example.org/ic/x", "https://acme.example", False),
        ("http://[::1]:80/ic/x", "http://[0:0::1]", True),
    ],
)
def test_routes_belong_to_the_service_of_their_origin(upstream: str, url: str, is_member: bool) -> None:  # noqa: FBT001 - a row
    [route] = resolve(config({"acme": {"url": url}}, upstream))
    assert (route.service is not None) is is_member


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (service("packs: 2"), None),
        (service("calls: 10, wait: 5s"), None),
        (
            service("packs: 1, calls: 101"),
            (
                "13: services.acme.calls: is above the 100 synchronous runs that `packs` allow, so OIC refuses calls; "
                "lower it, or remove it for 90 % of the runs"
            ),
        ),
        (
            service("packs: 3"),
            (
                "13: services.acme.packs: allows 270 calls at once, but `pool.size` only 256 connections; set `pool: "
                "{size: 270}`, or start more workers"
            ),
        ),
        (service("packs: 3") + "workers: 2\n", None),
        (service("packs: 3") + "workers: auto\n", None),
        (service("packs: 3") + "pool: {size: 270}\n", None),
        (
            service("licence: byol"),
            "13: services.acme: has `licence` but no `packs`; add `packs`, or remove `licence`",
        ),
        (service("packs: 0"), "13: services.acme.packs: is too small; write 1 or more"),
        (
            service("calls: many"),
            "13: services.acme.calls: must be a whole number; write digits only, without quotes or unit",
        ),
        (
            "services: {other: {url: 'https://other.example', calls: 1}}\n",
            (
                "12: services.other.url: is not the host of any route's `upstream`, so the entry has no effect; write "
                "the scheme, host and port of the routes"
            ),
        ),
        (
            service("calls: 1") + "  again: {url: 'https://acme.example:443', calls: 1}\n",
            (
                "14: services.again.url: is the service of `services.acme`, too; keep one entry for each service "
                "instance"
            ),
        ),
        (
            "services: {acme: {url: 'https://acme.example/ic'}}\n",
            "12: services.acme.url: must be a host without a path; remove the path",
        ),
    ],
)
def test_each_mistake_is_reported_with_its_remedy(
    problems_of: ProblemsOf, valid: str, text: str, expected: str | None
) -> None:
    found = [problem.replace(" warning:", "") for problem in problems_of(valid + text)]
    assert found == ([] if expected is None else [expected])
