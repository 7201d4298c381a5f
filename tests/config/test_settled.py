"""Each setting comes from the route, else from `defaults`, else is built in."""

import re
from typing import Any

from pydantic import TypeAdapter

from gateway.config.model import BudgetSettings, Config, Credential
from gateway.config.resolved import (
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    REPLAY_LIMIT,
    RESPONSE_TIMEOUT,
    ResolvedRoute,
    authorize_url_of,
    budgets,
    client_secrets,
    resolve,
    revoke_url_of,
)
from gateway.config.route_model import RouteSettings, Timeout
from gateway.config.strict_model import StrictModel
from gateway.config.values import Duration, Size


def settled(route: dict[str, Any], defaults: dict[str, Any] | None = None) -> ResolvedRoute:
    credential = {"token_url": "https://i/t", "client_id": "c", "client_secret": {"env": "S"}}
    named = {"name": "r", "path": "/r/", "upstream": "https://u/", "credential": "a"}
    config = Config.model_validate(
        {"credentials": {"a": credential}, "defaults": defaults or {}, "routes": [{**named, **route}]}
    )
    return resolve(config)[0]


def test_built_in_settings() -> None:
    assert settled({}) == ResolvedRoute(
        name="r",
        path="/r",
        upstream="https://u/",
        credential="a",
        methods=None,
        connect_timeout=5.0,
        response_timeout=330.0,
        idle_timeout=60.0,
        replay="any",
        idempotent=False,
        replay_limit=256 * 1024,
        origins=(),
        keep_cookies=False,
        rewrite=frozenset({"json", "xml", "yaml"}),
        set_headers=(),
        remove_headers=(),
        set_query=(),
        instance_id=None,
        design=None,
        tls=None,
        proxy=None,
    )


FULL = {
    "credential": "b",
    "methods": ["POST"],
    "timeout": {"connect": "1s", "response": "2s", "idle": "3s"},
    "replay": "never",
    "idempotent": True,
    "replay_limit": "1KiB",
    "origins": ["*"],
    "keep_cookies": True,
    "tls": {"ca": "/ca"},
    "proxy": {"url": "http://p"},
}


def test_defaults_speak_for_a_silent_route_and_a_route_for_itself() -> None:
    by_defaults = settled({"credential": None}, FULL)
    by_route = settled(FULL, {"credential": "z", "methods": ["GET"], "replay": "any", "timeout": {"idle": "9s"}})
    assert by_defaults == by_route
    assert by_route.credential == "b"
    assert by_route.idle_timeout == 3.0
    assert by_route.origins == ("*",)
    assert by_route.tls is not None
    assert by_route.tls.ca == "/ca"


def test_falsehood_in_a_route_overrules_defaults() -> None:
    quiet = settled(
        {"idempotent": False, "keep_cookies": False, "origins": [], "replay_limit": "0B"},
        {"idempotent": True, "keep_cookies": True, "origins": ["*"], "replay_limit": "1B"},
    )
    assert (quiet.idempotent, quiet.keep_cookies, quiet.origins, quiet.replay_limit) == (False, False, (), 0)


def test_timeouts_merge_key_by_key() -> None:
    merged = settled({"timeout": {"connect": "1s"}}, {"timeout": {"connect": "2s", "idle": "3s"}})
    assert (merged.connect_timeout, merged.response_timeout, merged.idle_timeout) == (1.0, 330.0, 3.0)


def test_get_brings_head_and_the_root_path_is_empty() -> None:
    assert settled({"methods": ["GET", "POST"]}).methods == frozenset({"GET", "HEAD", "POST"})
    assert settled({"methods": ["POST"]}).methods == frozenset({"POST"})
    assert settled({"path": "/"}).path == ""


def credential(url: str, **budget: int) -> Credential:
    said = {"token_url": url, "client_id": "c", "client_secret": {"env": "S"}, "budget": budget or None}
    return Credential.model_validate(said)


def test_credentials_of_one_identity_domain_share_the_least_budget_that_is_said() -> None:
    said = budgets(
        [
            credential("https://One.example/oauth2/v1/token", per_second=40, per_minute=1000),
            credential("https://one.example/other", per_minute=900),
            credential("https://one.example/oauth2/v1/token"),
            credential("https://two.example/oauth2/v1/token"),
            credential("https://two.example:444/oauth2/v1/token", per_second=9),
        ]
    )
    assert said == {
        "one.example": BudgetSettings(per_second=8, per_minute=900),
        "two.example": BudgetSettings(),
        "two.example:444": BudgetSettings(per_second=9),
    }


def told(part: type[StrictModel], key: str) -> str:
    """The default that the description of the key ends with, as the file writes it."""
    found = re.search(r"Default (\w+)", part.model_fields[key].description or "")
    assert found
    return found[1]


def test_the_descriptions_tell_the_built_in_settings() -> None:
    keys = ("connect", "response", "idle")
    seconds = [TypeAdapter(Duration).validate_python(told(Timeout, key)) for key in keys]
    assert seconds == [CONNECT_TIMEOUT, RESPONSE_TIMEOUT, IDLE_TIMEOUT]
    assert TypeAdapter(Size).validate_python(told(RouteSettings, "replay_limit")) == REPLAY_LIMIT
    assert [told(RouteSettings, key) for key in ("idempotent", "keep_cookies")] == ["false", "false"]


def test_client_secrets_keep_their_order() -> None:
    named = {"token_url": "https://i/t", "client_id": "c"}
    secrets = [[], {"env": "A"}, [{"env": "A"}], [{"env": "A"}, {"env": "B"}]]
    written = [named | ({"client_secret": secret} if secret else {}) for secret in secrets]
    found = [client_secrets(Credential.model_validate(credential)) for credential in written]
    assert [[ref.env for ref in refs] for refs in found] == [[], ["A"], ["A"], ["A", "B"]]


def test_the_addresses_of_a_sign_in_are_beside_the_token_endpoint() -> None:
    base = {"token_url": "https://i.example/oauth2/v1/token", "client_id": "c"}
    credential = Credential.model_validate(base)
    assert authorize_url_of(credential) == "https://i.example/oauth2/v1/authorize"
    assert revoke_url_of(credential) == "https://i.example/oauth2/v1/revoke"
    said = Credential.model_validate({**base, "authorize_url": "https://h/a", "revoke_url": "https://h/r"})
    assert (authorize_url_of(said), revoke_url_of(said)) == ("https://h/a", "https://h/r")
