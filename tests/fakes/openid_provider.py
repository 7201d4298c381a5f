"""An OpenID Connect provider on a real socket that signs right and wrong tokens."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.keys import pair

CLIENT_ID, CLIENT_SECRET = "console", "secret-of-the-console"


def public_jwk(kind: str, name: str, kid: str | None, **more: str) -> dict[str, Any]:
    """The public key of a pair as a JWK."""
    key = pair(kind, name).private.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        text = jwt.algorithms.RSAAlgorithm.to_jwk(key)
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        text = jwt.algorithms.ECAlgorithm.to_jwk(key)
    document: dict[str, Any] = json.loads(text)
    return document | ({} if kid is None else {"kid": kid}) | more


def unsigned(claims: dict[str, Any]) -> str:
    """A token with `alg: none`."""
    return jwt.encode(claims, "", algorithm="none", headers={"kid": "1"})


def signed_with_public_key(claims: dict[str, Any]) -> str:
    """A token signed by HS256 with the provider's public key as the secret (RFC 8725 §2.1)."""
    key = pair("rsa", "provider").private.public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "1"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.new(pem, text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@dataclass(slots=True)
class OpenIdProvider:
    """Use it as `async with OpenIdProvider() as provider`. A test changes its public fields before a login."""

    claims: dict[str, Any] = field(default_factory=dict)
    """Added to the claims of the next ID token; a claim that is None is left out."""
    groups: object = ("OIC-Ops",)
    sign: Any = None
    """A function of the claims that returns the token, in place of a right signature."""
    key: tuple[str, str] = ("rsa", "provider")
    kid: str | None = "1"
    keys: list[dict[str, Any]] = field(default_factory=lambda: [public_jwk("rsa", "provider", "1")])
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    response: dict[str, str] = field(default_factory=dict)
    """Added to the authorization response."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    _runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def sign_in(self, location: str) -> str:
        """A person opens the authorization URL and signs in. Return the target of the redirection, without origin."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert (query["response_type"], query["client_id"]) == ("code", CLIENT_ID)
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = urlsplit(query["redirect_uri"])
        return f"{back.path}?{urlencode({'code': code, 'state': query['state']} | self.response)}"

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        self.requests.append(request.path)
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "/.well-known/openid-configuration": self._metadata,
            "/keys": lambda: {"keys": self.keys},
            "/userinfo": lambda: self.userinfo or {},
        }
        if request.path == "/token":
            return self._token(parse_qs(await request.text()), request.headers.get("Authorization", ""))
        return web.json_response(answers[request.path]())

    def _metadata(self) -> dict[str, Any]:
        urls = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        document = {name: self.url + path for name, path in urls.items()} | {"issuer": self.url}
        return document | ({"userinfo_endpoint": f"{self.url}/userinfo"} if self.userinfo else {}) | self.metadata

    def _token(self, form: dict[str, list[str]], authorization: str) -> web.Response:
        request = self.codes.pop(form["code"][0], None)
        pair_ = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if request is None or authorization != f"Basic {pair_}" or challenge != request["code_challenge"]:
            return web.json_response({"error": "invalid_grant", "error_description": CLIENT_SECRET}, status=400)
        now = time.time()
        claims: dict[str, Any] = {
            "iss": self.url, "aud": CLIENT_ID, "sub": "ann", "iat": now, "exp": now + 300, "nonce": request["nonce"],
        }  # fmt: skip
        claims |= {"groups": list(self.groups)} if isinstance(self.groups, tuple) else {}
        claims = {name: value for name, value in (claims | self.claims).items() if value is not None}
        answer = {"access_token": "access-token-of-ann", "token_type": "Bearer", "id_token": self._sign(claims)}
        return web.json_response(answer)

    def _sign(self, claims: dict[str, Any]) -> str:
        if self.sign is not None:
            return str(self.sign(claims))
        algorithm = "RS256" if self.key[0] == "rsa" else "ES256"
        headers = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(claims, pair(*self.key).key, algorithm=algorithm, headers=headers)
