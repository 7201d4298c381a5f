"""The token requests of one credential: built from the present secrets, and sent.

If there are several client secrets, the first is used. When the token endpoint refuses it, the next is tried at once.
The one that worked is used first from then on, until one of them changes: so a secret is rotated without a gap.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from gateway.errors import TokenRefused
from gateway.oauth.client_auth import CLIENT_AUTH, NEXT_SECRET
from gateway.oauth.failures import failure_code
from gateway.oauth.grants import GRANTS, TokenRequest, TokenResponse

ValueReader = Callable[[], str]
T = TypeVar("T")

# The grant of requests without a person: after a sign-in, only the refresh token is used.
_GRANT_AFTER_SIGN_IN = {"authorization_code": "refresh_token"}


class TokenRequestBuilder:
    """Builds and sends the token requests of one credential.

    `template` is `grants.build_token_request` with every value that is not secret; `readers` read, by name, the values
    that the rows of `grant` and `client_auth` need; `client_secrets` are read in order. A reader raises OSError or
    ValueError. Before another secret is tried, `acquire` waits for the rate limiter: that is one more request.
    """

    def __init__(
        self,
        template: Callable[..., TokenRequest],
        *,
        grant: str,
        client_auth: str,
        endpoint: Callable[[TokenRequest], Awaitable[TokenResponse]],
        readers: Mapping[str, ValueReader],
        client_secrets: Sequence[ValueReader] = (),
        acquire: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._build_request = template
        self._grant = _GRANT_AFTER_SIGN_IN.get(grant, grant)
        self._client_auth = client_auth
        self._endpoint = endpoint
        self._readers = readers
        self._client_secrets = client_secrets
        self._acquire = acquire
        self._last_good_secret = ""

    def build(self, grant: str = "", **values: str) -> TokenRequest:
        """Return the token request with the present secrets; in a thread, since it reads files and signs.

        `grant` and `values` override the credential's own: a code with its verifier, a rotated refresh token. Raise
        OSError or ValueError for a value that cannot be read, TokenRefused (`sign-in`) before the first sign-in.
        """
        grant = grant or self._grant
        values = {name: values[name] if name in values else self._read(name) for name in GRANTS[grant].needs}
        return self.authenticate(partial(self._build_request, grant=grant, **values))

    def authenticate(self, template: Callable[..., TokenRequest]) -> TokenRequest:
        """Return the request that `template` makes with `client_auth` and its present proof. Raise as `build` does."""
        first, *others = (
            replace(template(client_auth=self._client_auth, **proof), secret_id=secret_id)
            for secret_id, proof in self._proofs()
        )
        return replace(first, fallback=_chain_fallbacks(others))

    async def send(self, request: TokenRequest) -> TokenResponse:
        """Return the endpoint's response. Raise what the endpoint raises, for the last secret tried."""
        return await self.send_with(self._endpoint, request)

    async def send_with(self, send: Callable[[TokenRequest], Awaitable[T]], request: TokenRequest) -> T:
        """Send to another endpoint at which the client authenticates in the same way. Raise what `send` raises."""
        while True:
            try:
                response = await send(request)
            except TokenRefused as error:
                if request.fallback is None or failure_code(error) not in NEXT_SECRET:
                    raise
                request = request.fallback
                if self._acquire is not None:
                    await self._acquire()
            else:
                self._last_good_secret = request.secret_id
                return response

    def _read(self, name: str) -> str:
        if name not in self._readers:
            raise TokenRefused(reason="sign-in: no person has signed in yet")
        return self._readers[name]()

    def _proofs(self) -> list[tuple[str, dict[str, str]]]:
        """Return pairs of a secret's id and the value that client authentication needs; the one that worked comes
        first.
        """
        name = CLIENT_AUTH[self._client_auth].needs
        if name != "client_secret":
            return [("", {name: self._read(name)} if name else {})]
        secrets = _read_all(self._client_secrets)
        proofs = zip(_secret_ids(secrets), ({name: secret} for secret in secrets), strict=True)
        return sorted(proofs, key=lambda proof: proof[0] != self._last_good_secret)


def _chain_fallbacks(requests: Sequence[TokenRequest]) -> TokenRequest | None:
    """Return the first request, with the others chained as its fallbacks."""
    if not requests:
        return None
    return replace(requests[0], fallback=_chain_fallbacks(requests[1:]))


def _read_all(readers: Sequence[ValueReader]) -> list[str]:
    """Return the secrets that can be read, at least one. Raise the first error if there is none."""
    values: list[str] = []
    errors: list[OSError | ValueError] = []
    for read in readers:
        try:
            values.append(read())
        except (OSError, ValueError) as error:
            errors.append(error)
    if not values:
        raise errors[0]
    return values


def _secret_ids(secrets: Sequence[str]) -> Iterator[str]:
    """Yield an id for each secret, which changes when any of them does. It is a hash, so that no secret is kept."""
    digest = hashlib.sha256("\0".join(secrets).encode("utf-8", "surrogatepass")).hexdigest()
    return (f"{digest}-{index}" for index in range(len(secrets)))
