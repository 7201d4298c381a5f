"""The check of `check --live` for the provider of logins: its metadata and its keys."""

from collections.abc import Mapping

from gateway.config.model import Config
from gateway.console.authentication import Authentication
from gateway.console.login_sessions import SessionTable
from gateway.console.openid_connect import LoginRejected
from gateway.diagnosis.finding import Finding
from gateway.oauth.clock import SystemClock

_SUBJECT, _STEP = "console sign_in", "discovery"


async def check_provider(config: Config, *, environ: Mapping[str, str]) -> list[Finding]:
    """Return the finding for the provider of `console.sign_in`; none without it."""
    access = Authentication(config, SessionTable(), environ=environ, clock=SystemClock(), former=None)
    if access.provider is None:
        return []
    try:
        seen = await access.provider.describe()
    except LoginRejected as error:
        return [Finding(ok=False, subject=_SUBJECT, seen=error.seen, remedy=error.remedy, step=_STEP)]
    return [Finding(ok=True, subject=_SUBJECT, seen=seen, step=_STEP)]
