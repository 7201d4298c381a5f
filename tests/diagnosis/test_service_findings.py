"""The current problem of a service, as `/status` and the diagnosis texts show it."""

from typing import Any

import pytest

from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.service_findings import service_problem

HEALTHY: dict[str, Any] = {"failure": None, "open_for": 0.0, "limit": 90, "configured_limit": 90, "waiting": 0}


@pytest.mark.parametrize(
    ("facts", "code", "seen"),
    [
        ({"failure": "status 503", "open_for": 7.5, "waiting": 3}, "upstream-down", "status 503; the next trial"),
        ({"limit": 63, "waiting": 3}, "limited-upstream", "the service refuses calls: 63 instead of 90"),
        ({"waiting": 3}, "overloaded", "3 calls wait for one of 90 places"),
    ],
)
def test_the_gravest_problem_of_a_service_is_shown(facts: dict[str, Any], code: str, seen: str) -> None:
    problem = service_problem(**HEALTHY | facts)
    assert problem is not None
    assert problem["code"] == code
    assert problem["seen"].startswith(seen)
    assert (problem["means"], problem["remedy"]) == (MISTAKES[code].means, MISTAKES[code].remedy)


def test_a_healthy_service_has_no_problem() -> None:
    assert service_problem(**HEALTHY) is None
    assert service_problem(**HEALTHY | {"limit": None, "configured_limit": None}) is None
