"""Which credentials use the client secret of an application, and which files hold it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config.issue import REFERENCES
from gateway.config.model import Config, CredentialSettings
from gateway.config.resolved import client_secrets, endpoint_of
from gateway.rotation.secret_regenerator import ADMINISTRATION_SCOPE

_SECRET_METHODS = frozenset(("basic", "post"))
_SIGN_IN_GRANTS = frozenset(("authorization_code", "refresh_token"))
_WRITABLE = "file"


class CannotRotate(ValueError):
    """The configuration does not allow the rotation; the message has the remedy."""


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """The rotation of the client secret of credential `name`.

    `targets` maps each credential that uses the secret to the file that gets the new one. `administrator` obtains the
    token for the request.
    """

    name: str
    targets: Mapping[str, str]
    administrator_name: str
    administrator: CredentialSettings

    @property
    def files(self) -> tuple[str, ...]:
        """The files to write, each once."""
        return tuple(dict.fromkeys(self.targets.values()))


def plan_rotation(config: Config, name: str, *, administrator: str = "") -> RotationPlan:
    """Return the plan to rotate the secret of a credential, by a token of the credential `administrator`, by default
    the same one. Raise CannotRotate.
    """
    credential = config.credentials[name]
    if not _uses_secret(credential):
        raise CannotRotate(f"credential {name} has no client secret: `client_auth` is `{credential.client_auth}`")
    by = administrator or name
    if by not in config.credentials:
        raise CannotRotate(f"there is no credential {by}; name one of {', '.join(sorted(config.credentials))}")
    if endpoint_of(config.credentials[by]) != endpoint_of(credential):
        raise CannotRotate(f"credential {by} is of another identity domain; name one with the same `token_url`")
    targets = {
        other: _target(other, settings)
        for other, settings in config.credentials.items()
        if _uses_secret(settings) and _application(settings) == _application(credential)
    }
    return RotationPlan(name, targets, by, _as_administrator(config.credentials[by]))


def _uses_secret(credential: CredentialSettings) -> bool:
    return credential.client_auth in _SECRET_METHODS and credential.client_secret is not None


def _application(credential: CredentialSettings) -> tuple[str, str]:
    return endpoint_of(credential), credential.client_id


def _target(name: str, credential: CredentialSettings) -> str:
    """Return the first file among the references: the gateway tries all of them."""
    refs = client_secrets(credential)
    target = next((ref.target for ref in refs if ref.kind == _WRITABLE), None)
    if target is None:
        kinds = " and ".join(sorted({f"`{ref.kind}`" for ref in refs}))
        others = ", ".join(f"`{kind}`" for kind in REFERENCES if kind != _WRITABLE)
        raise CannotRotate(
            f"the client secret of credential {name} is given by {kinds}, which cannot be written; only `{_WRITABLE}` "
            f"can be, not {others}: write client_secret: {{file: /path}}, or regenerate the secret in the console of "
            "the identity domain"
        )
    return target


def _as_administrator(credential: CredentialSettings) -> CredentialSettings:
    """Return the settings that obtain a token for the identity domain's own API."""
    grant = "client_credentials" if credential.grant in _SIGN_IN_GRANTS else credential.grant
    changes: dict[str, object] = {
        "grant": grant,
        "scope": ADMINISTRATION_SCOPE,
        "audience": None,
        "resource": None,
        "params": {},
    }
    return credential.model_copy(update=changes)
