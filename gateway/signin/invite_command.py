"""The verb `login --invite`: put an invite into the store of the running gateway, and return its link."""

import os

from gateway import __version__
from gateway.config.model import Config
from gateway.diagnosis import Finding
from gateway.observe.metrics import Metrics
from gateway.signin.invites import create_invite, invite_url
from gateway.signin.sign_in_completion import SIGN_IN_ERRORS, sign_in_failure
from gateway.wiring.components import Components


async def invite(config: Config, name: str, *, invited_by: str) -> tuple[Finding, str]:
    """Invite a person to sign in for the credential of that name. Return the link, empty after a failure."""
    components = Components(Metrics(__version__), environ=os.environ)
    try:
        store = components.configure(config)
        token = await create_invite(store, name, invited_by, clock=components.credential_builder.clock)
        seen = "one person can sign in with this link, once, within 30 minutes"
        return Finding(ok=True, subject=f"credential {name}", seen=seen), invite_url(config, token)
    except SIGN_IN_ERRORS as error:
        return sign_in_failure(name, error), ""
    finally:
        await components.close()
