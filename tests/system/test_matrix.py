"""The requirements for OAuth to an upstream, as comparable gateways meet them, and the tests of each."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# A requirement → folder/module::test, without `test_`.
ROWS = {
    "client_credentials": ("oauth/grants::a_request_is_a_form_with_the_grant_first",),
    "jwt-bearer and password": ("system/grants::every_users_grant_gets_a_token_for_the_user",),
    "authorization code and refresh, unattended": (
        "system/grants::a_public_client_signs_in_and_rotates_its_token",
        "oauth/refresh_rotation::the_new_one_is_kept_before_the_token_is_given",
        "oauth/refresh_rotation::many_workers_use_each_one_once",
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
        "system/sharing::expiry_with_1000_callers_costs_one_token_request",
        "oauth/store_redis::no_token_is_readable_in_it",
    ),
    "renewed ahead and behind": (
        "system/tokens::calls_do_not_wait_for_a_renewal",
        "oauth/lifetime::a_token_of_an_hour_is_renewed_when_a_fifth_is_left",
    ),
    "jitter, back-off, Retry-After": (
        "oauth/failures::the_back_off_doubles_with_full_jitter",
        "oauth/failures::retry_after_is_honoured_within_bounds",
        "system/outage::retry_after_of_the_identity_domain_reaches_the_caller",
    ),
    "a budget for token requests": (
        "oauth/rate_limiter::no_second_and_no_minute_sees_more_than_the_window_holds",
        "oauth/token_source::forced_renewals_count_in_the_rate_limit",
    ),
    "expires_in missing": (
        "oauth/lifetime::the_life_is_expires_in_else_the_jwt_else_a_default",
        "system/tokens::an_invalid_expires_in_gets_a_usable_lifetime",
    ),
    "upstream 401: only the rejected token, once, if safe": (
        "system/tokens::a_token_that_oic_holds_for_expired_is_replaced_once",
        "system/tokens::a_late_401_for_the_old_token_leaves_the_new_one",
        "system/sharing::a_token_that_oic_refuses_is_replaced_once_for_all",
    ),
    "no token: 502 or 503, never sent": (
        "system/outage::a_dead_token_is_never_sent",
        "system/outage::a_rejected_client_gets_502_token_refused",
    ),
    "readiness reflects tokens": ("system/outage::down_at_the_start_up_later",),
    "a check that really gets a token and explains": (
        "system/check::live_all_is_well",
        "system/check::live_a_wrong_secret_is_explained",
    ),
    "secret re-read without restart, old and new overlap": (
        "system/tokens::a_changed_secret_file_is_used_without_a_restart",
        "oauth/token_request::the_next_secret_is_tried_at_once_in_the_same_fetch",
    ),
    "token metrics": ("system/tokens::status_and_metrics_follow_the_token",),
    "upstream's run ids in the log": ("proxy/record::a_record_describes_the_request",),
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
