"""Every grant and client authentication of the configuration file, from its YAML to a token of the sandbox over TLS."""

import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import yaml
from yarl import URL

from gateway.config.load import load
from gateway.config.model import Config
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.authorization import authorization_url, code_challenge
from gateway.observe.metrics import Metrics
from gateway.sandbox import DEFAULT_PASSWORD, DEFAULT_USER, OTHER_AUDIENCE, TRIGGER, RegisteredClient, Sandbox, User
from gateway.wiring.components import Components
from tests.fakes.keys import pair

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANTS = frozenset(
    {"client_credentials", "password", "refresh_token", "authorization_code", "tls_client_auth", JWT_BEARER}
)
SECRET = "s3cret +&="
BACK = "http://127.0.0.1:8400/"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the credentials refer to."""
    files = {
        "server.pem": pair(name="server").key + pair(name="server").certificate,
        "ca.pem": pair(name="server").certificate,
        "cert.pem": pair().certificate,
        "key.pem": pair().key,
        "locked.pem": pair().locked("open sesame"),
        "password-of-key": "open sesame\n",
        "ec.pem": pair("ec").key,
        "secret": f"{SECRET}\n",
        "stale": "not this one\n",
        "user-password": f"{DEFAULT_PASSWORD}\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
async def sandbox(folder: Path) -> AsyncIterator[Sandbox]:
    """Speaks TLS, asks for a client certificate and takes any; the client's own certificate is imported."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    for name in ("client", "stranger"):
        context.load_verify_locations(cadata=pair(name=name).certificate)
    context.load_verify_locations(cadata=pair("ec").certificate)
    certificates = {"alias": pair().certificate, "ec": pair("ec").certificate}
    clients = {
        "app": RegisteredClient(
            secret=SECRET, certificates=certificates, grants=GRANTS, redirect_uris=frozenset({BACK})
        ),
        "page": RegisteredClient(is_public=True, grants=GRANTS, redirect_uris=frozenset({BACK})),
    }
    async with Sandbox(clients=clients, users={"kim": User(password="p&=w")}, ssl_context=context) as made:
        yield made


@pytest.fixture
async def parts(sandbox: Sandbox) -> AsyncIterator[Components]:
    made = Components(Metrics("test"), environ={"RT": sandbox.mint_refresh("app")})
    yield made
    await made.close()


def written(folder: Path, sandbox: Sandbox, credential: Mapping[str, Any]) -> Config:
    """The configuration with that credential, as loaded from a file."""
    common = {"token_url": sandbox.token_url, "client_id": "app", "scope": sandbox.scope, "tls": {"ca": "ca.pem"}}
    document = {
        "credentials": {"app": {key: value for key, value in {**common, **credential}.items() if value is not None}},
        "routes": [{"name": "r", "path": "/", "upstream": "https://u.example/", "credential": "app"}],
        "state": {"path": "state.db", "keys": [{"env": "STATE_KEY"}], "timeout": "20s"},
    }
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return load(file, environ={"RT": "any", "STATE_KEY": "0123456789abcdef" * 4}).config


async def token(parts: Components, config: Config) -> dict[str, Any]:
    """The claims of the token that a source gets."""
    source = parts.credential_builder.token_source("app", config.credentials["app"])
    try:
        claims: dict[str, Any] = jwt.decode(await source.get_token(), options={"verify_signature": False})
    finally:
        await source.close()
    return claims


SIGNING = {"private_key": {"file": "key.pem"}}
MINE = {"tls": {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}}
ONE_SECRET = {"client_secret": {"file": "secret"}}

WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "basic": (ONE_SECRET, "basic"),
    "post": ({**ONE_SECRET, "client_auth": "post"}, "post"),
    "x5t of the certificate": (
        {"client_auth": "private_key_jwt", "signing": {**SIGNING, "cert": "cert.pem"}},
        "private_key_jwt",
    ),
    "kid": ({"client_auth": "private_key_jwt", "signing": {**SIGNING, "kid": "alias"}}, "private_key_jwt"),
    "locked key": (
        {
            "client_auth": "private_key_jwt",
            "signing": {
                "private_key": {"file": "locked.pem"},
                "key_password": {"file": "password-of-key"},
                "cert": "cert.pem",
                "algorithm": "RS256",
            },
        },
        "private_key_jwt",
    ),
    "tls": ({**MINE, "client_auth": "tls"}, "tls"),
    "tls with a locked key": (
        {
            "client_auth": "tls",
            "tls": {
                "ca": "ca.pem",
                "cert": "cert.pem",
                "key": "locked.pem",
                "key_password": {"file": "password-of-key"},
            },
        },
        "tls",
    ),
    "the grant tls_client_auth": ({**MINE, "client_auth": "tls", "grant": "tls_client_auth"}, "tls"),
    "a certificate beside the secret": ({**MINE, **ONE_SECRET}, "basic"),
    "the second secret": ({"client_secret": [{"file": "stale"}, {"file": "secret"}]}, "basic"),
}


@pytest.mark.parametrize(("credential", "how"), WAYS.values(), ids=WAYS)
async def test_every_client_auth_gets_a_token_for_the_client(
    folder: Path, sandbox: Sandbox, parts: Components, *, credential: dict[str, Any], how: str
) -> None:
    claims = await token(parts, written(folder, sandbox, credential))
    assert (claims["sub"], claims["sub_type"]) == ("app", "client")
    assert (sandbox.token_requests[-1].client_auth, sandbox.token_requests[-1].status) == (how, 200)


USERS: dict[str, tuple[dict[str, Any], str]] = {
    "password": (
        {"grant": "password", "username": DEFAULT_USER, "password": {"file": "user-password"}, **ONE_SECRET},
        DEFAULT_USER,
    ),
    "user assertion": (
        {
            "grant": "jwt_bearer",
            "subject": "kim",
            "signing": {**SIGNING, "kid": "alias"},
            "client_auth": "private_key_jwt",
        },
        "kim",
    ),
    "refresh token": ({"grant": "refresh_token", "refresh_token": {"env": "RT"}, **ONE_SECRET}, DEFAULT_USER),
}


@pytest.mark.parametrize(("credential", "user"), USERS.values(), ids=USERS)
async def test_every_users_grant_gets_a_token_for_the_user(
    folder: Path, sandbox: Sandbox, parts: Components, *, credential: dict[str, Any], user: str
) -> None:
    claims = await token(parts, written(folder, sandbox, credential))
    assert (claims["sub"], claims["sub_type"], claims["client_id"]) == (user, "user", "app")


async def test_a_public_client_signs_in_and_rotates_its_token(
    folder: Path, sandbox: Sandbox, parts: Components
) -> None:
    sandbox.switches.rotate_refresh_tokens = True
    scope = f"{sandbox.scope} offline_access"
    credential_settings = {
        "grant": "authorization_code",
        "client_auth": "none",
        "client_id": "page",
        "redirect_uri": BACK,
    }
    credential = written(folder, sandbox, {**credential_settings, "scope": scope}).credentials["app"]
    requests = parts.credential_builder.token_requests(credential)
    with pytest.raises(TokenRefused) as caught:
        requests.build()
    assert caught.value.reason.startswith("sign-in: ")
    sign_in = authorization_url(
        sandbox.authorize_url,
        client_id="page",
        redirect_uri=BACK,
        state="st",
        challenge=code_challenge("v" * 43),
        scope=scope,
    )
    code = await agreed(sign_in, folder)
    token_request = requests.build("authorization_code", code=code, redirect_uri=BACK, code_verifier="v" * 43)
    first = (await requests.send(token_request)).refresh_token or ""
    second = await requests.send(requests.build(refresh_token=first))
    assert second.refresh_token not in {None, first}
    with pytest.raises(TokenRefused, match="identity domain"):  # used twice: the whole sign-in ends
        await requests.send(requests.build(refresh_token=first))
    with pytest.raises(TokenRefused):
        await requests.send(requests.build(refresh_token=second.refresh_token or ""))


async def agreed(url: str, folder: Path) -> str:
    """The code with which the authorization endpoint sends a person back."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(url, encoded=True), ssl=context, allow_redirects=False) as reply,
    ):
        return URL(reply.headers["Location"]).query["code"]


async def test_resource_selects_one_of_several_resources(folder: Path, sandbox: Sandbox, parts: Components) -> None:
    both = [sandbox.scope, OTHER_AUDIENCE + TRIGGER, "urn:opc:resource:multiresourcescope"]
    named = written(folder, sandbox, {**ONE_SECRET, "scope": both, "resource": OTHER_AUDIENCE})
    assert (await token(parts, named))["aud"] == OTHER_AUDIENCE
    with pytest.raises(TokenRefused) as caught:
        await token(parts, written(folder, sandbox, {**ONE_SECRET, "scope": both}))
    assert caught.value.reason.startswith("several-resources: ")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another certificate": (
        {"client_auth": "tls", "tls": {"ca": "ca.pem", "cert": "stranger.pem"}},
        "invalid_client",
    ),
    "an algorithm that identity domains do not take": (
        {"client_auth": "private_key_jwt", "signing": {"private_key": {"file": "ec.pem"}, "kid": "ec"}},
        "invalid_client",
    ),
    "a key id that nobody knows": ({"client_auth": "private_key_jwt", "signing": SIGNING}, "invalid_client"),
    "another audience": (
        {"client_auth": "private_key_jwt", "signing": {**SIGNING, "kid": "alias", "audience": "https://other/"}},
        "invalid_client",
    ),
    "another user": (
        {"grant": "jwt_bearer", "subject": "nobody", "signing": {**SIGNING, "kid": "alias"}, **ONE_SECRET},
        "invalid_grant",
    ),
    "two wrong secrets": ({"client_secret": [{"file": "stale"}, {"file": "user-password"}]}, "invalid_client"),
}


@pytest.mark.parametrize(("credential", "code"), REFUSED.values(), ids=REFUSED)
async def test_credentials_that_the_identity_domain_rejects(
    folder: Path, sandbox: Sandbox, parts: Components, *, credential: dict[str, Any], code: str
) -> None:
    stranger = pair(name="stranger")
    (folder / "stranger.pem").write_text(stranger.key + stranger.certificate, encoding="utf-8")
    with pytest.raises(TokenRefused) as caught:
        await token(parts, written(folder, sandbox, credential))
    assert caught.value.reason.startswith(f"{code}: ")


async def test_es256_where_the_server_takes_it(folder: Path, sandbox: Sandbox, parts: Components) -> None:
    sandbox.switches.assertion_algorithms = ("ES256",)
    signing = {"private_key": {"file": "ec.pem"}, "kid": "ec", "algorithm": "ES256"}
    claims = await token(parts, written(folder, sandbox, {"client_auth": "private_key_jwt", "signing": signing}))
    assert claims["sub"] == "app"


async def test_changed_files_are_used_at_the_next_request(folder: Path, sandbox: Sandbox, parts: Components) -> None:
    credential = {"client_auth": "tls", "tls": {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}}
    config = written(folder, sandbox, credential)
    requests = parts.credential_builder.token_requests(config.credentials["app"])
    await requests.send(requests.build())
    (folder / "key.pem").unlink()
    with pytest.raises(TokenUnavailable) as caught:
        await requests.send(requests.build())
    assert caught.value.reason.startswith("certificate: ")
    (folder / "key.pem").write_text(pair().key, encoding="utf-8")
    await requests.send(requests.build())


async def test_an_invalid_signing_key_is_reported_without_its_content(
    folder: Path, sandbox: Sandbox, parts: Components
) -> None:
    config = written(folder, sandbox, {"client_auth": "private_key_jwt", "signing": {**SIGNING, "kid": "alias"}})
    (folder / "key.pem").write_text("hunter2", encoding="utf-8")
    with pytest.raises(TokenUnavailable) as caught:
        await token(parts, config)
    assert caught.value.reason.startswith("secret: the key or certificate of `signing` is not a PEM private key")
    assert "hunter2" not in caught.value.reason
    assert len(sandbox.token_requests) == 0
