"""The shape of `oci:`, who the gateway is to OCI where secrets are kept in its Vault. Imported by the model alone."""

from typing import Literal, Self

from pydantic import model_validator

from gateway.config.strict_model import StrictModel
from gateway.config.values import BaseUrl, Duration, Text


class Oci(StrictModel):
    """How secrets are read from OCI Vault; only where a secret is one of it (`oci_vault`)."""

    auth: Literal["instance_principal", "resource_principal", "config_file"] = "instance_principal"
    """Who the gateway is to OCI: the instance that it runs on, its resource (a container instance, a function, a pod),
    or the user of a profile in OCI's configuration file (`~/.oci/config`, or what `OCI_CONFIG_FILE` names)."""
    profile: Text | None = None
    """Profile of `auth: config_file`; omitted: DEFAULT."""
    refresh: Duration = 300.0
    """So long a secret is used without asking OCI again; after a failure it is asked for at once."""
    endpoint: BaseUrl | None = None
    """Where secrets are asked for, in place of the public address in the secret's region."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.profile is not None and self.auth != "config_file":
            raise ValueError("has a `profile`, which only `auth: config_file` uses; write that, or take it out")
        return self
