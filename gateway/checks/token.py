"""Get one token for the command `token`."""

import os
from dataclasses import dataclass, field
from typing import Any

from gateway import __version__
from gateway.checks.credential import credential_config, fetch_token
from gateway.config.model import Config
from gateway.diagnosis.credential_findings import diagnose_audience, diagnose_refusal, read_audiences
from gateway.diagnosis.facts import ConnectionProbe, CredentialProbe
from gateway.diagnosis.finding import Finding
from gateway.oauth.grants import read_jwt_claims
from gateway.observe.metrics import Metrics
from gateway.wiring.components import Components
from gateway.wiring.secret_reader import build_secret_reader, secret_servers


@dataclass(frozen=True, slots=True)
class TokenResult:
    """A token, or the finding why there is none."""

    finding: Finding
    token: str = field(default="", repr=False)
    claims: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is a token without a problem."""
        return self.finding.ok


async def get_token(config: Config, name: str, *, force: bool = False) -> TokenResult:
    """Get a token for a credential: the stored one, or with `force` a new one, which replaces the stored one."""
    components = Components(Metrics(__version__), environ=os.environ)
    credential = config.credentials[name]
    try:
        components.configure(config)
        source = components.credential_builder.token_source(name, credential)
        value, reason, status = await fetch_token(source, source.force_refresh if force else source.get_token)
    finally:
        await components.close()
    if reason:
        settings = credential_config(name, credential, build_secret_reader(os.environ, secret_servers(config)))
        return TokenResult(
            diagnose_refusal(CredentialProbe(settings, ConnectionProbe(credential.token_url), reason=reason))
        )
    claims, lifetime = read_jwt_claims(value), status["expires_in_s"]
    finding = diagnose_audience(name, credential.scope or "", read_audiences(claims)) or Finding(
        ok=True, subject=f"credential {name}", seen=f"a token with a lifetime of {lifetime:.0f} s", step="token"
    )
    return TokenResult(finding, value, {"expires_in_s": lifetime, **claims})
