"""The table of mistakes is whole: every row says three things, and whoever names a code names a row."""

import re

import pytest

from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.connections import _CODE_BY_REASON, _CODE_BY_STEP, _CODE_BY_VERIFY_ERROR
from gateway.diagnosis.credential_findings import _CAUSES, _DETAILS
from gateway.diagnosis.route_findings import _SECOND_CAUSE
from gateway.diagnosis.route_health import _ADDED_MEANING, RouteHealth
from gateway.network.http_failure import _ERROR_REASONS
from gateway.oauth.failures import FAILURE_KINDS


@pytest.mark.parametrize("code", MISTAKES)
def test_every_row_has_symptom_meaning_and_remedy(code: str) -> None:
    row = MISTAKES[code]
    assert re.fullmatch(r"[a-z]+(?:[-_][a-z]+)*", code)
    assert len(row.seen) > 10
    assert not row.seen.endswith(".")
    for text in (row.means, row.remedy):
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith((".", ")"))
        assert "|" not in text
        assert "docs/" not in text  # an installed package has no documentation


def test_no_two_codes_say_the_same() -> None:
    assert len({row.means for row in MISTAKES.values()}) == len(MISTAKES)


def test_every_code_in_use_is_a_row() -> None:
    named = {
        *FAILURE_KINDS,
        *_CODE_BY_VERIFY_ERROR.values(),
        *_CODE_BY_STEP.values(),
        *_DETAILS,
        *_ADDED_MEANING,
        *_SECOND_CAUSE,
        *_SECOND_CAUSE.values(),
    }
    named |= (
        {code for _, code in _CODE_BY_REASON}
        | {cause.code for cause in _CAUSES}
        | {code for _, code, _ in _ERROR_REASONS}
    )
    assert named <= set(MISTAKES)


@pytest.mark.parametrize("path", ["/v1/flows/rest/A/1.0/", "/flows/soap/A/", "/ic/api/integration/v1/", "/x"])
def test_whatever_an_upstream_answers_has_its_row(path: str) -> None:
    for status in range(300, 600):
        health = RouteHealth()
        health.record_response(status, has_instance_id=False, at=1.0, target=path)
        text = health.as_status()
        assert text is None or text["code"] in MISTAKES
