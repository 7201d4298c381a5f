"""Each setting comes from the route, from `defaults`, or from the built-in defaults, in this order."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter

from gateway.config.model import BudgetSettings, Config, CredentialSettings
from gateway.config.resolved import (
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    REPLAY_LIMIT,
    RESPONSE_TIMEOUT,
    ResolvedRoute,
    authorize_url_of,
    client_secrets,
    endpoint_of,
    limits_by_endpoint,
    resolve,
    revoke_url_of,
)
from gateway.config.route_model import RouteSettings, TimeoutSettings
from gateway.config.schema import key_meanings
from gateway.config.strict_model import StrictModel
from gateway.config.values import Duration, Size


def resolve_one(route: dict[str, Any], defaults: dict[str, Any] | None = None) -> ResolvedRoute:
    credential = {"token_url": "https://i/t", "client_id": "c", "client_secret": {"env": "S"}}
    named = {"name": "r", "path": "/r/", "upstream": "https://u/", "credential": "a"}
    config = Config.model_validate(
        {"credentials": {"a": credential}, "defaults": defaults or {}, "routes": [{**named, **route}]}
    )
    return resolve(config)[0]


def test_built_in_settings() -> None:
    assert resolve_one({}) == ResolvedRoute(
        name="r",
        path="/r",
        upstream="https://u/",
        credential="a",
        callers=None,
        methods=None,
        connect_timeout=5.0,
        response_timeout=330.0,
        idle_timeout=60.0,
        replay="any",
        idempotent=False,
        replay_limit=256 * 1024,
        origins=(),
        half_close="answer",
        keep_cookies=False,
        rewrite=frozenset({"json", "xml", "yaml"}),
        set_headers=(),
        remove_headers=(),
        set_query=(),
        instance_id=None,
        design=None,
        tls=None,
        proxy=None,
        service=None,
    )


FULL = {
    "credential": "b",
    "methods": ["POST"],
    "timeout": {"connect": "1s", "response": "2s", "idle": "3s"},
    "replay": "never",
    "idempotent": True,
    "replay_limit": "1KiB",
    "origins": ["*"],
    "half_close": "abort",
    "keep_cookies": True,
    "tls": {"ca": "/ca"},
    "proxy": {"url": "http://p"},
}


def test_route_overrides_defaults() -> None:
    by_defaults = resolve_one({"credential": None}, FULL)
    by_route = resolve_one(FULL, {"credential": "z", "methods": ["GET"], "replay": "any", "timeout": {"idle": "9s"}})
    assert by_defaults == by_route
    assert by_route.credential == "b"
    assert by_route.idle_timeout == 3.0
    assert by_route.origins == ("*",)
    assert by_route.tls is not None
    assert by_route.tls.ca == "/ca"


def test_false_and_empty_values_of_a_route_override_defaults() -> None:
    resolved = resolve_one(
        {"idempotent": False, "keep_cookies": False, "origins": [], "replay_limit": "0B"},
        {"idempotent": True, "keep_cookies": True, "origins": ["*"], "replay_limit": "1B"},
    )
    assert (resolved.idempotent, resolved.keep_cookies, resolved.origins, resolved.replay_limit) == (
        False,
        False,
        (),
        0,
    )


def test_timeouts_merge_key_by_key() -> None:
    merged = resolve_one({"timeout": {"connect": "1s"}}, {"timeout": {"connect": "2s", "idle": "3s"}})
    assert (merged.connect_timeout, merged.response_timeout, merged.idle_timeout) == (1.0, 330.0, 3.0)


def test_get_includes_head_and_root_path_is_empty() -> None:
    assert resolve_one({"methods": ["GET", "POST"]}).methods == frozenset({"GET", "HEAD", "POST"})
    assert resolve_one({"methods": ["POST"]}).methods == frozenset({"POST"})
    assert resolve_one({"path": "/"}).path == ""


def credential(url: str, **budget: int) -> CredentialSettings:
    settings = {"token_url": url, "client_id": "c", "client_secret": {"env": "S"}, "budget": budget or None}
    return CredentialSettings.model_validate(settings)


def test_lowest_budget_applies_to_an_identity_domain() -> None:
    limits = limits_by_endpoint(
        [
            credential("https://One.example/oauth2/v1/token", per_second=40, per_minute=1000),
            credential("https://one.example:443/other", per_minute=900),
            credential("https://one.example/oauth2/v1/token"),
            credential("https://two.example/oauth2/v1/token"),
            credential("https://two.example:444/oauth2/v1/token", per_second=9),
        ]
    )
    assert limits == {
        "https://one.example:443": BudgetSettings(per_second=8, per_minute=900),
        "https://two.example:443": BudgetSettings(),
        "https://two.example:444": BudgetSettings(per_second=9),
    }


def documented_default(part: type[StrictModel], key: str) -> str:
    """Return the default in the description of the key, in the notation of the file."""
    found = re.search(r"Default (\w+)", key_meanings(part)[key])
    assert found
    return found[1]


def test_descriptions_contain_the_built_in_defaults() -> None:
    keys = ("connect", "response", "idle")
    seconds = [TypeAdapter(Duration).validate_python(documented_default(TimeoutSettings, key)) for key in keys]
    assert seconds == [CONNECT_TIMEOUT, RESPONSE_TIMEOUT, IDLE_TIMEOUT]
    assert TypeAdapter(Size).validate_python(documented_default(RouteSettings, "replay_limit")) == REPLAY_LIMIT
    assert [documented_default(RouteSettings, key) for key in ("idempotent", "keep_cookies")] == ["false", "false"]


def test_client_secrets_keep_their_order() -> None:
    named = {"token_url": "https://i/t", "client_id": "c"}
    secrets = [[], {"env": "A"}, [{"env": "A"}], [{"env": "A"}, {"env": "B"}]]
    written = [named | ({"client_secret": secret} if secret else {}) for secret in secrets]
    found = [client_secrets(CredentialSettings.model_validate(credential)) for credential in written]
    assert [[ref.env for ref in refs] for refs in found] == [[], ["A"], ["A"], ["A", "B"]]


def test_sign_in_endpoints_default_next_to_token_endpoint() -> None:
    base = {"token_url": "https://i.example/oauth2/v1/token", "client_id": "c"}
    credential = CredentialSettings.model_validate(base)
    assert authorize_url_of(credential) == "https://i.example/oauth2/v1/authorize"
    assert revoke_url_of(credential) == "https://i.example/oauth2/v1/revoke"
    explicit = CredentialSettings.model_validate({**base, "authorize_url": "https://h/a", "revoke_url": "https://h/r"})
    assert (authorize_url_of(explicit), revoke_url_of(explicit)) == ("https://h/a", "https://h/r")


@pytest.mark.parametrize("host", ["idcs.example:443", "IDCS.example", "idcs.example."])
def test_one_token_endpoint_has_one_name_in_all_spellings(host: str) -> None:
    one, other = (
        CredentialSettings.model_validate(
            {
                "token_url": f"https://{name}/oauth2/v1/token",
                "client_id": "x",
                "client_secret": {"env": "S"},
                "scope": "s",
            }
        )
        for name in ("idcs.example", host)
    )
    assert endpoint_of(one) == endpoint_of(other)
