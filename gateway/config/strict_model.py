"""What every part of the model is made of: a strict mapping, a secret by reference, how a certificate is checked, an
egress proxy.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from gateway.config.values import OCID_PATTERN, VARIABLE_PATTERN, FilePath, ProxyAddress


class StrictModel(BaseModel):
    """Any mapping of the file: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )


def exactly_one(*keys: str, required: tuple[str, ...] = ()) -> ConfigDict:
    """Says in the JSON Schema that one of the keys has a value, and only one. A validator of the part checks that, and
    the keys that are `required`, with remedies of its own.
    """
    choices: list[JsonValue] = [{"required": [key], "properties": {key: {"not": {"type": "null"}}}} for key in keys]
    extra: dict[str, JsonValue] = {"oneOf": choices, "required": [*required]}
    return ConfigDict(json_schema_extra=extra if required else {"oneOf": choices})


class SecretRef(StrictModel):
    """Where a secret is found; exactly one of these."""

    model_config = exactly_one("file", "env", "oci_vault")

    file: FilePath | None = None
    """File that holds the secret, relative to the configuration file; a newline at its end is left off."""
    env: Annotated[str, Field(pattern=VARIABLE_PATTERN)] | None = None
    """Environment variable that holds the secret."""
    oci_vault: Annotated[str, Field(pattern=OCID_PATTERN)] | None = None
    """OCID of the secret in OCI Vault; its current version is used, a newline at its end is left off."""

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            raise ValueError("a secret must not stand in the file; write {file: /path} or {env: NAME}")  # noqa: TRY004 - pydantic reads ValueError
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            raise ValueError("needs exactly one of `file`, `env` and `oci_vault`; write {file: /path} or {env: NAME}")
        return self

    @property
    def kind(self) -> str:
        """The key of the reference: `file`, `env` or `oci_vault`."""
        return next(key for key, value in self if value is not None)

    @property
    def target(self) -> str:
        """What the reference names: a path, a variable, an OCID."""
        return str(getattr(self, self.kind))


class Tls(StrictModel):
    """How the other side's certificate is checked."""

    ca: FilePath | None = None
    """PEM file of the authorities to trust in place of the system's, relative to the configuration file."""


class Proxy(StrictModel):
    """The egress proxy; a CONNECT tunnel is made through it."""

    url: ProxyAddress
    """Address of the proxy, like http://proxy.corp:3128; with https:// the proxy is spoken to in TLS. Without a scheme
    it is http, without a port 3128 (https: 443)."""
    username: str | None = None
    """User for the proxy's Basic authentication."""
    password: SecretRef | None = None
    """Password for the proxy's Basic authentication, by reference."""
    tls: Tls | None = None
    """How the certificate of an https proxy is checked; omitted: as that of the server behind it."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("has a `password` but no `username`; write both or none")
        if ":" in (self.username or ""):  # RFC 7617 §2
            raise ValueError("has a colon in `username`; Basic authentication cannot carry it, use another user")
        return self
