"""Base of the model: a strict mapping; and shapes that several parts share: secret reference, TLS, egress proxy."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, PrivateAttr, Tag, model_validator

from gateway.config.values import CREDENTIAL_PATTERN, OCID_PATTERN, VARIABLE_PATTERN, FilePath, ProxyAddress


class StrictModel(BaseModel):
    """A mapping of the file: frozen, strict, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class FileScopedModel(StrictModel):
    """A mapping that belongs to the main file or to the owner of an included one."""

    _file_scope: str = PrivateAttr(default="")

    @property
    def file_scope(self) -> str:
        """Return the scope of the file that has the mapping (`SourceFile.scope`); empty for the main file."""
        return self._file_scope

    def with_file_scope(self, scope: str) -> Self:
        """Return the mapping as that of a file with this scope."""
        copied = self.model_copy()
        copied._file_scope = scope  # noqa: SLF001 - of a copy; a frozen model lets a private attribute be set
        return copied


def exactly_one(*keys: str, required: tuple[str, ...] = ()) -> ConfigDict:
    """Declare in the JSON Schema that exactly one of the keys has a value. A validator of the class checks that, and
    the `required` keys, with its own remedies.
    """
    choices: list[JsonValue] = [{"required": [key], "properties": {key: {"not": {"type": "null"}}}} for key in keys]
    extra: dict[str, JsonValue] = {"oneOf": choices, "required": [*required]}
    return ConfigDict(json_schema_extra=extra if required else {"oneOf": choices})


class SecretRef(StrictModel):
    """Reference to a secret; exactly one of these keys."""

    model_config = exactly_one("file", "env", "credential", "oci_vault")

    file: FilePath | None = None
    """File that contains the secret, relative to the configuration file; a newline at its end is ignored."""
    env: Annotated[str, Field(pattern=VARIABLE_PATTERN)] | None = None
    """Environment variable that contains the secret."""
    credential: Annotated[str, Field(pattern=CREDENTIAL_PATTERN)] | None = None
    """Name of a credential that systemd passes (LoadCredential=); a newline at its end is ignored."""
    oci_vault: Annotated[str, Field(pattern=OCID_PATTERN)] | None = None
    """OCID of the secret in OCI Vault; its current version is used, a newline at its end is ignored."""

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            raise ValueError("a secret must not be in the file; write {file: /path} or {env: NAME}")  # noqa: TRY004 - pydantic reads ValueError
        return value

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            raise ValueError(
                "needs exactly one of `file`, `env`, `credential` and `oci_vault`; write {file: /path} or {env: NAME}"
            )
        return self

    @property
    def kind(self) -> str:
        """The key of the reference: `file`, `env`, `credential` or `oci_vault`."""
        return next(key for key, value in self if value is not None)

    @property
    def target(self) -> str:
        """The path, variable, name or OCID of the reference."""
        return str(getattr(self, self.kind))


def _kind(value: object) -> str:
    return "[several]" if isinstance(value, list) else "[one]"


# The discriminator keeps an error in one shape from being reported for the other, too; `messages` drops the tags.
OneOrMoreSecrets = Annotated[
    Annotated[SecretRef, Tag("[one]")] | Annotated[Annotated[list[SecretRef], Field(min_length=1)], Tag("[several]")],
    Discriminator(_kind),
]


def secret_refs(secrets: SecretRef | list[SecretRef] | None) -> tuple[SecretRef, ...]:
    """Return the references of a `OneOrMoreSecrets` in their order; none for None."""
    if secrets is None:
        return ()
    return tuple(secrets) if isinstance(secrets, list) else (secrets,)


class TlsSettings(StrictModel):
    """Verification of the server's certificate."""

    ca: FilePath | None = None
    """PEM file of the trusted authorities, in place of the system's; relative to the configuration file."""


class ClientTlsSettings(TlsSettings):
    """Verification of the server's certificate, and the client certificate."""

    cert: FilePath | None = None
    """PEM file of the client certificate, followed by its chain; relative to the configuration file."""
    key: FilePath | None = None
    """PEM file of the certificate's private key; omitted: it is in the file of `cert`."""
    key_password: SecretRef | None = None
    """Password of the private key, by reference."""


class ProxySettings(StrictModel):
    """Egress proxy; the gateway opens a CONNECT tunnel through it."""

    url: ProxyAddress
    """Address of the proxy, like http://proxy.corp:3128; with https:// the connection to the proxy uses TLS. Default
    scheme http, default port 3128 (https: 443)."""
    username: str | None = None
    """User for the proxy's Basic authentication."""
    password: SecretRef | None = None
    """Password for the proxy's Basic authentication, by reference."""
    tls: TlsSettings | None = None
    """Verification of the certificate of an https proxy; omitted: as for the server behind it."""

    @model_validator(mode="after")
    def _has_username(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("has a `password` but no `username`; set both or none")
        if ":" in (self.username or ""):  # RFC 7617 §2
            raise ValueError("has a colon in `username`; Basic authentication cannot carry it, use another user")
        return self
