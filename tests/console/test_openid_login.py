"""Login by OpenID Connect: what makes a person known, and every token and response that does not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.config.console_model import Role
from gateway.console.provider_check import check_provider
from tests.fakes.console_gate import CONSOLE_HOST, ConsoleGate, WebBrowser, WebResponse, console_config, serve_console
from tests.fakes.openid_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    OpenIdProvider,
    public_jwk,
    signed_with_public_key,
    unsigned,
)

URL = f"https://{CONSOLE_HOST}"
START = "/console/login/start?return=/console/routes"
ROLES = {"admin": ["OIC-Admins"], "operator": ["OIC-Ops"]}


@dataclass(slots=True)
class Scene:
    """A console and its provider."""

    gate: ConsoleGate
    provider: OpenIdProvider

    async def log_in(self, browser: WebBrowser) -> WebResponse:
        """Sign in at the provider. Return the response of the console to the redirection."""
        start = await browser.get(START)
        assert start.location.startswith(f"{self.provider.url}/authorize?"), (start.status, start.body)
        return await browser.get(self.provider.sign_in(start.location))

    @property
    def last(self) -> dict[str, Any]:
        return self.gate.audit[-1]


@pytest.fixture
async def provider() -> AsyncIterator[OpenIdProvider]:
    async with OpenIdProvider() as running:
        yield running


@pytest.fixture
async def scene(tmp_path: Path, provider: OpenIdProvider) -> AsyncIterator[Scene]:
    async with serve_console(tmp_path, environ={"SECRET": CLIENT_SECRET}, **settings(tmp_path, provider)) as gate:
        yield Scene(gate, provider)


def settings(folder: Path, provider: OpenIdProvider, **more: Any) -> dict[str, Any]:
    sign_in = {"issuer": provider.url, "client_id": CLIENT_ID, "client_secret": {"env": "SECRET"}}
    return {"url": URL, "sign_in": sign_in, "roles": ROLES, "audit": str(folder / "audit.jsonl")} | more


async def test_a_person_logs_in_and_out(scene: Scene) -> None:
    browser = scene.gate.browser()
    response = await scene.log_in(browser)
    assert (response.status, response.location) == (303, "/console/routes")
    assert list(browser.cookies) == ["__Host-oic-gateway-session"]
    page = await browser.get("/console/")
    assert page.status == 200
    assert "ann" in page.body
    assert (scene.last["who"], scene.last["role"], scene.last["login"]) == ("ann", "operator", "openid")
    old = dict(browser.cookies)
    assert (await browser.post("/console/logout", {"csrf_token": page.csrf_token})).location == "/console/login"
    browser.cookies = old
    assert (await browser.get("/console/")).status == 303
    assert [entry["action"] for entry in scene.gate.audit] == ["login", "logout"]


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (("OIC-Ops", "OIC-Admins"), "admin"),
        (("OIC-Admins", "OIC-Ops"), "admin"),
        (("OIC-Ops",), "operator"),
        (("oic-ops",), None),
        ((), None),
    ],
)
async def test_the_highest_role_of_the_groups_counts(scene: Scene, groups: tuple[str], role: Role | None) -> None:
    scene.provider.groups = groups
    response = await scene.log_in(scene.gate.browser())
    assert response.status == (403 if role is None else 303)
    assert (scene.last["result"], scene.last["role"]) == ("denied" if role is None else "ok", role or "")


async def test_everyone_is_a_viewer_by_an_asterisk(scene: Scene, tmp_path: Path) -> None:
    scene.gate.configure(**settings(tmp_path, scene.provider, roles={"viewer": ["*"]}))
    scene.provider.groups = ()
    assert (await scene.log_in(scene.gate.browser())).status == 303
    assert scene.last["role"] == "viewer"


async def test_groups_come_from_userinfo_too(scene: Scene) -> None:
    scene.provider.groups = None
    scene.provider.userinfo = {"sub": "ann", "groups": [{"name": "OIC-Admins", "id": "7"}]}
    assert (await scene.log_in(scene.gate.browser())).status == 303
    assert scene.last["role"] == "admin"


WRONG: dict[str, dict[str, Any]] = {
    "expired": {"claims": {"exp": 1_000_000_000}},
    "without expiry": {"claims": {"exp": None}},
    "expiry as text": {"claims": {"exp": "9999999999"}},
    "expiry not a number": {"claims": {"exp": float("nan")}},
    "expiry as true": {"claims": {"exp": True}},
    "not yet valid": {"claims": {"nbf": 9_999_999_999}},
    "of the future": {"claims": {"iat": 9_999_999_999}},
    "of another login": {"claims": {"nonce": "another"}},
    "without nonce": {"claims": {"nonce": None}},
    "nonce as a number": {"claims": {"nonce": 7}},
    "for another client": {"claims": {"aud": "another"}},
    "for two clients": {"claims": {"aud": [CLIENT_ID, "another"]}},
    "for no client": {"claims": {"aud": []}},
    "authorized party is another": {"claims": {"azp": "another"}},
    "of another issuer": {"claims": {"iss": "https://evil.example"}},
    "without issuer": {"claims": {"iss": None}},
    "without subject": {"claims": {"sub": None}},
    "empty subject": {"claims": {"sub": ""}},
    "unsigned": {"sign": unsigned},
    "signed with the public key": {"sign": signed_with_public_key},
    "signed by another key": {"key": ("rsa", "stranger")},
    "of an unknown key": {"key": ("rsa", "stranger"), "kid": "2"},
    "signed by another kind of key": {"key": ("ec", "stranger"), "kid": "1"},
    "without kid, and two keys": {
        "kid": None,
        "keys": [public_jwk("rsa", "provider", "1"), public_jwk("rsa", "stranger", "2")],
    },
    "of a key for encryption": {"keys": [public_jwk("rsa", "provider", "1", use="enc")]},
    "of a key for another algorithm": {"keys": [public_jwk("rsa", "provider", "1", alg="RS512")]},
    "not a JWT": {"sign": lambda _: "opaque"},
    "an object": {"sign": lambda _: "e30.e30.e30"},
    "of another person in userinfo": {"groups": None, "userinfo": {"sub": "bob", "groups": ["OIC-Admins"]}},
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_token_logs_no_person_in(scene: Scene, case: str) -> None:
    for name, value in WRONG[case].items():
        setattr(scene.provider, name, value)
    browser = scene.gate.browser()
    response = await scene.log_in(browser)
    assert response.status == 502, response.body
    assert "session" not in str(browser.cookies)
    assert (await browser.get("/console/")).status == 303
    assert (scene.last["action"], scene.last["result"]) == ("login", "failed")
    assert CLIENT_SECRET not in response.body


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "http://evil.example/keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "http://evil.example/userinfo"},
        {"token_endpoint": None},
    ],
)
async def test_metadata_of_another_provider_is_refused(scene: Scene, metadata: dict[str, Any]) -> None:
    scene.provider.metadata = metadata
    response = await scene.gate.browser().get(START)
    assert response.status == 502
    assert "The login failed" in response.body


@pytest.mark.parametrize(
    ("response", "metadata", "status"),
    [
        ({"iss": "https://evil.example"}, {}, 502),
        ({}, {"authorization_response_iss_parameter_supported": True}, 403),
        ({"error": "access_denied"}, {}, 502),
        ({"state": "another"}, {}, 403),
    ],
)
async def test_a_response_of_another_login_is_refused(
    scene: Scene, response: dict[str, str], metadata: dict[str, Any], status: int
) -> None:
    scene.provider.response, scene.provider.metadata = response, metadata
    answer = await scene.log_in(scene.gate.browser())
    assert answer.status == status
    assert "/token" not in scene.provider.requests


async def test_the_issuer_in_a_response_may_be_named(scene: Scene) -> None:
    scene.provider.response = {"iss": scene.provider.url}
    scene.provider.metadata = {"authorization_response_iss_parameter_supported": True}
    assert (await scene.log_in(scene.gate.browser())).status == 303


async def test_a_response_counts_only_in_the_browser_that_asked(scene: Scene) -> None:
    attacker, victim = scene.gate.browser(), scene.gate.browser()
    target = scene.provider.sign_in((await attacker.get(START)).location)
    assert (await victim.get(target)).status == 403
    await victim.get(START)
    assert (await victim.get(target)).status == 403
    assert "session" not in str(victim.cookies)
    assert "/token" not in scene.provider.requests


async def test_a_login_must_be_completed_in_ten_minutes(scene: Scene) -> None:
    browser = scene.gate.browser()
    target = scene.provider.sign_in((await browser.get(START)).location)
    scene.gate.clock.seconds = 601
    assert (await browser.get(target)).status == 403


async def test_a_code_is_worth_nothing_twice(scene: Scene) -> None:
    browser = scene.gate.browser()
    start = await browser.get(START)
    cookies, target = dict(browser.cookies), scene.provider.sign_in(start.location)
    assert (await browser.get(target)).status == 303
    browser.cookies = cookies
    assert (await browser.get(target)).status == 502


async def test_new_keys_of_the_provider_are_fetched(scene: Scene) -> None:
    assert (await scene.log_in(scene.gate.browser())).status == 303
    scene.provider.key, scene.provider.kid = ("rsa", "stranger"), "2"
    scene.provider.keys = [public_jwk("rsa", "stranger", "2")]
    scene.gate.clock.seconds = 10
    assert (await scene.log_in(scene.gate.browser())).status == 303
    assert scene.provider.requests.count("/keys") == 2


async def test_unknown_keys_do_not_flood_the_provider(scene: Scene) -> None:
    scene.provider.kid = "unknown"
    for _ in range(4):
        assert (await scene.log_in(scene.gate.browser())).status == 502
    assert scene.provider.requests.count("/keys") == 1


async def test_an_elliptic_key_without_kid_suffices(scene: Scene) -> None:
    scene.provider.key, scene.provider.kid = ("ec", "provider"), None
    scene.provider.keys = [public_jwk("ec", "provider", None)]
    assert (await scene.log_in(scene.gate.browser())).status == 303


async def test_a_login_begins_at_the_url_of_the_console(scene: Scene) -> None:
    local = scene.gate.browser(f"http://{scene.gate.address}")
    response = await local.get(START)
    assert (response.status, response.location) == (303, f"{URL}{START}")
    assert not local.cookies


async def test_a_session_ends_when_its_provider_changes(scene: Scene, tmp_path: Path) -> None:
    browser = scene.gate.browser()
    await scene.log_in(browser)
    changed = settings(tmp_path, scene.provider)
    changed["sign_in"]["client_id"] = "another"
    scene.gate.configure(**changed)
    assert (await browser.get("/console/")).status == 303


async def test_a_reload_changes_the_role_of_a_session(scene: Scene, tmp_path: Path) -> None:
    browser = scene.gate.browser()
    await scene.log_in(browser)
    assert "operator" in (await browser.get("/console/")).body
    scene.gate.configure(**settings(tmp_path, scene.provider, roles={"admin": ["OIC-Ops"]}))
    assert (
        await browser.post("/console/actions/reload", {"csrf_token": (await browser.get("/console/")).csrf_token})
    ).status == 303
    scene.gate.configure(**settings(tmp_path, scene.provider, roles={"admin": ["others"]}))
    assert (await browser.get("/console/")).status == 303


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "/console/../livez", "/console/login"]
)
async def test_a_login_leads_to_the_console_only(scene: Scene, target: str) -> None:
    browser = scene.gate.browser()
    start = await browser.get(f"/console/login/start?return={target}")
    assert (await browser.get(scene.provider.sign_in(start.location))).location == "/console/"


async def test_an_identity_domain_names_the_shared_issuer(scene: Scene) -> None:
    """Only a domain may: any other provider must name itself."""
    scene.provider.metadata = {"issuer": "https://identity.oraclecloud.com/"}
    assert (await scene.gate.browser().get(START)).status == 502


async def test_check_live_tries_the_provider(scene: Scene, tmp_path: Path) -> None:
    config = console_config(tmp_path, settings(tmp_path, scene.provider))
    [finding] = await check_provider(config, environ={})
    assert (finding.ok, finding.seen) == (
        True,
        f"metadata of {scene.provider.url}, 1 key; redirect URI {URL}/console/login/callback",
    )
    scene.provider.keys = []
    [finding] = await check_provider(config, environ={})
    assert (finding.ok, finding.seen) == (False, "the provider publishes no key for signatures")
    assert await check_provider(console_config(tmp_path, {}), environ={}) == []
