"""Which credentials use the client secret of an application, and which files hold it. Pure.

Only credentials of the same scope get the new secret. A file of another team may name any client: it must never obtain
the secret in that way.
"""

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
    token for the request. `cut_off` are the credentials of other scopes that keep the old secret.
    """

    name: str
    targets: Mapping[str, str]
    administrator_name: str
    administrator: CredentialSettings
    cut_off: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The files to write, each once."""
        return tuple(dict.fromkeys(self.targets.values()))


def plan_rotation(
    config: Config,
    name: str,
    *,
    scopes: Mapping[str, str] | None = None,
    administrator: str = "",
    may_cut_off: bool = False,
) -> RotationPlan:
    """Return the plan to rotate the secret of a credential, by a token of the credential `administrator`, by default
    the same one. `scopes` has the scope of each credential of an included file.

    Raise CannotRotate; without `may_cut_off` also if a credential of another scope uses the same client.
    """
    credential = config.credentials[name]
    if not _uses_secret(credential):
        raise CannotRotate(f"credential {name} has no client secret: `client_auth` is `{credential.client_auth}`")
    by = administrator or name
    if by not in config.credentials:
        raise CannotRotate(f"there is no credential {by}; name one of {', '.join(sorted(config.credentials))}")
    if endpoint_of(config.credentials[by]) != endpoint_of(credential):
        raise CannotRotate(f"credential {by} is of another identity domain; name one with the same `token_url`")
    scopes = scopes or {}
    users = [
        other
        for other, settings in config.credentials.items()
        if _uses_secret(settings) and _application(settings) == _application(credential)
    ]
    cut_off = tuple(other for other in users if scopes.get(other) != scopes.get(name))
    if cut_off and not may_cut_off:
        raise _others_use_it(name, {other: scopes.get(other, "the main file") for other in cut_off})
    targets = {other: _target(other, config.credentials[other]) for other in users if other not in cut_off}
    return RotationPlan(name, targets, by, _as_administrator(config.credentials[by]), cut_off)


def _others_use_it(name: str, others: Mapping[str, str]) -> CannotRotate:
    shown = ", ".join(f"{other} ({scope})" for other, scope in others.items())
    return CannotRotate(
        f"credential {name} has the same client as {shown}, which would be cut off: their secret files are not "
        "written. Let their owner use another client or remove them; or rotate with --cut-off-others, and give the "
        "owner the new secret"
    )


def _uses_secret(credential: CredentialSettings) -> bool:
    return credential.client_auth in _SECRET_METHODS and credential.client_secret is not None


def _application(credential: CredentialSettings) -> tuple[str, str]:
    return endpoint_of(credential), credential.client_id


def _target(name: str, credential: CredentialSettings) -> str:
    """Return the first file among the references: the gateway tries all of them."""
    refs = client_secrets(credential)
    target = next((ref.file for ref in refs if ref.kind == _WRITABLE), None)
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
