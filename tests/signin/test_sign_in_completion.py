"""The end of a sign-in against a scripted token endpoint: what is stored, and what a failure says."""

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import __version__
from gateway.config.load import load
from gateway.oauth.refresh_rotation import decode_stored
from gateway.observe.metrics import Metrics
from gateway.signin.authorization_response import NotSignedIn
from gateway.signin.sign_in_completion import (
    SIGN_IN_ERRORS,
    SignedIn,
    complete_sign_in,
    sign_in_failure,
)
from gateway.wiring.components import Components
from gateway.wiring.credentials import credential_key
from tests.fakes.identity import Answer, Identity, refusal, token

VARIABLES = {"STATE_KEY": "0123456789abcdef" * 4}


def unsigned_jwt(**claims: object) -> str:
    head, body = (urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims))
    return f"{head}.{body}.c2ln"


class Completion:
    """Completes sign-ins of the credential `person`."""

    def __init__(self, components: Components, file: Path) -> None:
        self._builder = components.credential_builder
        self._person = load(file, environ=VARIABLES).config.credentials["person"]

    async def complete(self) -> SignedIn:
        return await complete_sign_in(
            self._builder,
            "person",
            self._person,
            code="c0de",
            redirect_uri="http://x/",
            verifier="v" * 43,
            nonce="n0nce",
        )

    async def stored(self) -> str:
        return decode_stored(await self._builder.store.get_refresh_token(credential_key("person", self._person)))


@asynccontextmanager
async def completion(folder: Path, *answers: Answer) -> AsyncIterator[tuple[Completion, Identity]]:
    async with Identity(*answers) as identity:
        person = {"grant": "authorization_code", "client_auth": "none", "client_id": "page", "token_url": identity.url}
        document = {
            "state": {"path": str(folder / "state.db"), "keys": [{"env": "STATE_KEY"}], "timeout": "20s"},
            "credentials": {"person": person | {"scope": "openid offline_access"}},
            "routes": [{"name": "o", "path": "/", "upstream": "https://oic.example/", "credential": "person"}],
        }
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(document))
        components = Components(Metrics(__version__), environ=VARIABLES)
        try:
            components.configure(load(file, environ=VARIABLES).config)
            yield Completion(components, file), identity
        finally:
            await components.close()


@pytest.mark.parametrize(
    ("access_token", "claims", "account"),
    [
        (unsigned_jwt(sub="jdoe"), {"aud": "page", "nonce": "n0nce", "sub": "0815"}, "jdoe"),
        ("opaque", {"aud": ["page", "other"], "nonce": "n0nce", "sub": "0815"}, "0815"),
        ("opaque", {"aud": "page", "nonce": "n0nce"}, ""),
        ("opaque", None, ""),
    ],
)
async def test_a_sign_in_names_the_account(
    tmp_path: Path, access_token: str, claims: dict[str, object] | None, account: str
) -> None:
    more = {} if claims is None else {"id_token": unsigned_jwt(**claims)}
    async with completion(tmp_path, token(access_token, refresh_token="refresh-1", **more)) as (sign_in, identity):
        assert (await sign_in.complete()).account == account
        assert await sign_in.stored() == "refresh-1"
        [request] = identity.requests
        assert (request.form["code"], request.form["code_verifier"]) == (["c0de"], ["v" * 43])


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "page", "nonce": "another"},
        {"aud": "page"},
        {"aud": "page", "nonce": ["n0nce"]},
        {"aud": "other", "nonce": "n0nce"},
        {"aud": ["other"], "nonce": "n0nce"},
        {},
    ],
)
async def test_an_id_token_of_another_sign_in_stores_nothing(tmp_path: Path, claims: dict[str, object]) -> None:
    answer = token("access", refresh_token="refresh-1", id_token=unsigned_jwt(**claims))
    async with completion(tmp_path, answer) as (sign_in, _):
        with pytest.raises(NotSignedIn, match="of another sign-in"):
            await sign_in.complete()
        assert await sign_in.stored() == ""


@pytest.mark.parametrize(
    ("answer", "seen", "remedy"),
    [
        (refusal("invalid_grant", text="used"), "invalid_grant: used", "Sign in again."),
        (refusal("invalid_client", 401), "invalid_client", "Client secret"),
        (token("access"), "no refresh token", "Refresh Token"),
    ],
)
async def test_a_failure_has_a_remedy_and_stores_nothing(
    tmp_path: Path, answer: Answer, seen: str, remedy: str
) -> None:
    async with completion(tmp_path, answer) as (sign_in, _):
        with pytest.raises(SIGN_IN_ERRORS) as caught:
            await sign_in.complete()
        finding = sign_in_failure("person", caught.value)
        assert seen in finding.seen
        assert remedy in finding.remedy
        assert "c0de" not in finding.text()
        assert await sign_in.stored() == ""
