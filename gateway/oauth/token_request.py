"""The token requests of one credential: made of what its references say now, and sent.

Of several client secrets the first is used; when the token endpoint refuses it, the next is tried at once. The one
that worked goes first from then on, until one of them changes: so a secret is rotated without a gap.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from gateway.errors import TokenRefused
from gateway.oauth.client_auth import CLIENT_AUTH, NEXT_SECRET
from gateway.oauth.failures import code_of
from gateway.oauth.grants import GRANTS, TokenRequest, TokenResponse

ValueReader = Callable[[], str]
T = TypeVar("T")

# What is asked without a person: after the sign-in only the refresh token is used.
_UNATTENDED = {"authorization_code": "refresh_token"}


class TokenRequestBuilder:
    """Makes and sends the token requests of one credential.

    `plan` is `grants.build` with all that is no secret; `readers` give, by name, what the rows of `grant` and
    `client_auth` need; `client_secrets` are read in order. A reader raises OSError or ValueError. `turn` is waited for
    before another secret is tried: that is one more request of the endpoint's budget.
    """

    def __init__(
        self,
        plan: Callable[..., TokenRequest],
        *,
        grant: str,
        client_auth: str,
        endpoint: Callable[[TokenRequest], Awaitable[TokenResponse]],
        readers: Mapping[str, ValueReader],
        client_secrets: Sequence[ValueReader] = (),
        turn: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._plan = plan
        self._grant = _UNATTENDED.get(grant, grant)
        self._client_auth = client_auth
        self._endpoint = endpoint
        self._readers = readers
        self._client_secrets = client_secrets
        self._turn = turn
        self._last_good_secret = ""

    def build(self, grant: str = "", **given: str) -> TokenRequest:
        """The request of now; to be called in a thread, since it reads files and signs.

        `grant` and `given` go before what the credential says: a code with its verifier, a rotated refresh token.
        Raises OSError or ValueError for what cannot be read, TokenRefused (`sign-in`) where nobody has signed in yet.
        """
        grant = grant or self._grant
        values = {name: given[name] if name in given else self._read(name) for name in GRANTS[grant].needs}
        return self.authenticate(partial(self._plan, grant=grant, **values))

    def authenticate(self, plan: Callable[..., TokenRequest]) -> TokenRequest:
        """The request that `plan` makes of `client_auth` and the client's proof of now; raises as `made` does."""
        first, *others = (
            replace(plan(client_auth=self._client_auth, **proof), secret_id=secret_id)
            for secret_id, proof in self._proofs()
        )
        return replace(first, fallback=_chain_fallbacks(others))

    async def send(self, request: TokenRequest) -> TokenResponse:
        """The endpoint's answer; raises what it raises, of several secrets for the last one tried."""
        return await self.send_with(self._endpoint, request)

    async def send_with(self, send: Callable[[TokenRequest], Awaitable[T]], request: TokenRequest) -> T:
        """The same of another endpoint that knows the client."""
        while True:
            try:
                reply = await send(request)
            except TokenRefused as error:
                if request.fallback is None or code_of(error) not in NEXT_SECRET:
                    raise
                request = request.fallback
                if self._turn is not None:
                    await self._turn()
            else:
                self._last_good_secret = request.secret_id
                return reply

    def _read(self, name: str) -> str:
        if name not in self._readers:
            raise TokenRefused(reason="sign-in: nobody has signed in yet")
        return self._readers[name]()

    def _proofs(self) -> list[tuple[str, dict[str, str]]]:
        """What client authentication needs, with a mark for each secret; the one that worked goes first."""
        name = CLIENT_AUTH[self._client_auth].needs
        if name != "client_secret":
            return [("", {name: self._read(name)} if name else {})]
        secrets = _read_all(self._client_secrets)
        marked = zip(_secret_ids(secrets), ({name: secret} for secret in secrets), strict=True)
        return sorted(marked, key=lambda proof: proof[0] != self._last_good_secret)


def _chain_fallbacks(requests: Sequence[TokenRequest]) -> TokenRequest | None:
    """Each with the next one behind it."""
    if not requests:
        return None
    return replace(requests[0], fallback=_chain_fallbacks(requests[1:]))


def _read_all(readers: Sequence[ValueReader]) -> list[str]:
    """The secrets that can be read, one at least; when none can, the first one's error is raised."""
    found: list[str] = []
    errors: list[OSError | ValueError] = []
    for read in readers:
        try:
            found.append(read())
        except (OSError, ValueError) as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found


def _secret_ids(secrets: Sequence[str]) -> Iterator[str]:
    """One mark for each secret, another when any of them changes: a hash, so that none is kept."""
    whole = hashlib.sha256("\0".join(secrets).encode("utf-8", "surrogatepass"))
    for place in range(len(secrets)):
        yield f"{whole.hexdigest()}-{place}"
