"""What upstream OAuth in comparable gateways is measured by, row by row, and the tests that hold us to each."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# A row of the comparison → folder/module::test, without `test_`.
ROWS = {
    "client_credentials": ("oauth/grants::a_request_is_a_form_with_the_grant_first",),
    "jwt-bearer and password": ("system/grants::every_users_grant_gets_a_token_for_the_user",),
    "authorization code and refresh, unattended": (
        "system/grants::a_sign_in_of_a_public_client_and_what_comes_of_it",
        "oauth/refreshing::the_new_one_is_kept_before_the_token_is_given",
        "oauth/refreshing::many_workers_use_each_one_once",
    ),
    "secret basic and post": (
        "oauth/client_auth::basic_urlencodes_id_and_secret_before_base64",
        "oauth/client_auth::post_puts_both_into_the_form",
    ),
    "private_key_jwt and mTLS to the token endpoint": (
        "system/grants::every_client_auth_gets_a_token_for_the_client",
        "system/grants::es256_where_the_server_takes_it",
    ),
    "routes share a token": ("system/tokens::routes_of_one_credential_share_its_token",),
    "replicas share tokens, encrypted": (
        "system/sharing::a_thousand_callers_of_eight_workers_at_a_tokens_end_make_one_token_request",
        "oauth/store_redis::no_token_is_readable_in_it",
    ),
    "renewed ahead and behind": (
        "system/tokens::renewal_happens_behind_and_nobody_waits_for_it",
        "oauth/lifetime::an_hour_is_renewed_while_a_fifth_is_left_or_earlier_and_dead_ten_seconds_before_its_end",
    ),
    "jitter, back-off, Retry-After": (
        "oauth/failures::the_back_off_doubles_with_full_jitter",
        "oauth/failures::retry_after_is_honoured_within_bounds",
        "system/outage::retry_after_of_the_identity_domain_reaches_the_caller",
    ),
    "a budget for token requests": (
        "oauth/budget::no_second_and_no_minute_sees_more_than_the_bucket_holds",
        "oauth/source::forced_renewals_count_in_the_budget_too",
    ),
    "expires_in missing": (
        "oauth/lifetime::the_life_is_expires_in_then_the_jwt_then_a_short_default",
        "system/tokens::an_odd_expires_in_is_neither_endless_nor_none",
    ),
    "upstream 401: only the rejected token, once, if safe": (
        "system/tokens::a_token_that_oic_holds_for_expired_is_replaced_once",
        "system/tokens::a_late_401_for_the_old_token_leaves_the_new_one",
        "system/sharing::a_token_that_oic_refuses_is_replaced_once_for_all",
    ),
    "no token: 502 or 503, never sent": (
        "system/outage::a_dead_token_is_never_sent",
        "system/outage::a_refused_token_is_a_502_that_says_who_must_act",
    ),
    "readiness reflects tokens": ("system/outage::down_at_the_start_up_later",),
    "a check that really gets a token and explains": (
        "system/check::live_all_is_well",
        "system/check::live_a_wrong_secret_is_explained",
    ),
    "secret re-read without restart, old and new overlap": (
        "system/tokens::a_changed_secret_file_is_used_at_once_and_without_a_restart",
        "oauth/requests::the_next_secret_is_tried_at_once_in_the_same_fetch",
    ),
    "token metrics": ("system/tokens::status_and_metrics_tell_the_tokens_story",),
    "upstream's run ids in the log": ("proxy/record::a_record_says_what_happened",),
}


@cache
def named(module: str) -> frozenset[str]:
    """The tests of a module."""
    folder, _, name = module.partition("/")
    tree = ast.parse((TESTS / folder / f"test_{name}.py").read_text())
    return frozenset(part.name for part in tree.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_tests(row: str) -> None:
    for where in ROWS[row]:
        module, _, name = where.partition("::")
        assert f"test_{name}" in named(module), f"{row}: {where}"
