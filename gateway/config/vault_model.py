"""The shape of `vault:`, the access to HashiCorp Vault."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.config.strict_model import (
    ProxySettings,
    SecretRef,
    StrictModel,
    TlsSettings,
    VaultPath,
    exactly_one,
)
from gateway.config.values import VALUE_PATTERN, BaseUrl, Duration, Text

SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path
"""File with the token of a pod's service account."""


class AppRoleSettings(StrictModel):
    """Login by the auth method AppRole."""

    role_id: Text
    """RoleID of the role."""
    secret_id: SecretRef
    """SecretID, by reference."""
    mount: VaultPath = "approle"
    """Path where the auth method is enabled, without `auth/`."""


class KubernetesSettings(StrictModel):
    """Login by the auth method Kubernetes."""

    role: Text
    """Role that is bound to the service account."""
    jwt: SecretRef = Field(default_factory=lambda: SecretRef(file=SERVICE_ACCOUNT_TOKEN))
    """Token of the service account, by reference; omitted: the one that Kubernetes writes into each pod."""
    mount: VaultPath = "kubernetes"
    """Path where the auth method is enabled, without `auth/`."""


class VaultAuthSettings(StrictModel):
    """How the gateway logs in to Vault; exactly one of these keys."""

    model_config = exactly_one("token", "approle", "kubernetes")

    token: SecretRef | None = None
    """Token of Vault, by reference. The gateway renews it if it is renewable."""
    approle: AppRoleSettings | None = None
    """Login by the auth method AppRole."""
    kubernetes: KubernetesSettings | None = None
    """Login by the auth method Kubernetes."""

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            raise ValueError("needs exactly one of `token`, `approle` and `kubernetes`; remove the others")
        return self

    @property
    def method(self) -> str:
        """The key of the method: `token`, `approle` or `kubernetes`."""
        return next(key for key, value in self if value is not None)


class VaultSettings(StrictModel):
    """Access to HashiCorp Vault, for secrets with `vault`. The variables VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT and
    VAULT_TOKEN replace keys that are not set.
    """

    url: BaseUrl | None = None
    """URL of the server, like https://vault.corp:8200; omitted: VAULT_ADDR."""
    insecure: bool = False
    """True: allow an http:// URL of another machine; secrets are sent unencrypted."""
    namespace: Annotated[str, Field(pattern=VALUE_PATTERN, min_length=1)] | None = None
    """Namespace of Vault Enterprise; omitted: VAULT_NAMESPACE."""
    mount: VaultPath = "secret"
    """Path where the KV engine, version 2, is enabled; a reference may name another one."""
    auth: VaultAuthSettings | None = None
    """How the gateway logs in; omitted: with the token in VAULT_TOKEN."""
    refresh: Duration = 300.0
    """Time that a secret is used before it is read again; after a failure it is read at once."""
    timeout: Duration = 10.0
    """Time limit to read one secret, with the login."""
    tls: TlsSettings | None = None
    """Verification of the server's certificate; omitted: with the authorities in the file of VAULT_CACERT, or those of
    the system."""
    proxy: ProxySettings | None = None
    """Egress proxy to the server; omitted: that of HTTPS_PROXY, with the exceptions of NO_PROXY."""
