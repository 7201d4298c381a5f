"""Base of the model: a strict mapping; and shapes that several parts share: secret reference, TLS, egress proxy."""

from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PrivateAttr,
    Tag,
    model_validator,
)

from gateway.config.issue import REFERENCES
from gateway.config.values import (
    CREDENTIAL_PATTERN,
    OCID_PATTERN,
    VARIABLE_PATTERN,
    VAULT_PATH_PATTERN,
    FilePath,
    ProxyAddress,
    Text,
    has_dot_segment,
)

REFERENCE_KEYS = f"{', '.join(f'`{kind}`' for kind in REFERENCES[:-1])} and `{REFERENCES[-1]}`"
"""The keys of a reference to a secret, for messages."""


class StrictModel(BaseModel):
    """A mapping of the file: frozen, strict, unknown keys are errors.

    A validator is built when a class first validates. Defaults and derived values are made by `model_construct`, which
    needs none: the classes of most keys validate only as a part of `Config`.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class FileScopedModel(StrictModel):
    """A mapping that belongs to the main file or to the owner of an included one."""

    _file_scope: str = PrivateAttr()  # without a default: it would cost 10,000 routes 1.5 MB

    @property
    def file_scope(self) -> str:
        """Return the scope of the file that has the mapping (`SourceFile.scope`); empty for the main file."""
        return getattr(self, "_file_scope", "")

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


def _no_dot_segment(value: str) -> str:
    if has_dot_segment(value):
        raise ValueError("has a `.` or `..` between slashes; write the path without them")
    return value


VaultPath = Annotated[str, Field(pattern=VAULT_PATH_PATTERN), AfterValidator(_no_dot_segment)]
"""A path in Vault, without a slash at its ends."""


class VaultRef(StrictModel):
    """A field of a secret in HashiCorp Vault."""

    path: VaultPath
    """Path of the secret below its mount, as in `vault kv get -mount=MOUNT PATH`, without `data/`."""
    field: Text
    """Field that contains the secret; its current version is used as it is."""
    mount: VaultPath | None = None
    """Path where the KV engine, version 2, is enabled; omitted: `vault.mount`."""

    def __str__(self) -> str:
        """Return the mount, the path and the field for a message."""
        return f"{f'{self.mount}/' if self.mount is not None else ''}{self.path}#{self.field}"


class SecretRef(StrictModel):
    """Reference to a secret; exactly one of these keys."""

    model_config = exactly_one(*REFERENCES)

    file: FilePath | None = None
    """File that contains the secret, relative to the configuration file; a newline at its end is ignored."""
    env: Annotated[str, Field(pattern=VARIABLE_PATTERN)] | None = None
    """Environment variable that contains the secret."""
    credential: Annotated[str, Field(pattern=CREDENTIAL_PATTERN)] | None = None
    """Name of a credential that systemd passes (LoadCredential=); a newline at its end is ignored."""
    oci_vault: Annotated[str, Field(pattern=OCID_PATTERN)] | None = None
    """OCID of the secret in OCI Vault; its current version is used, a newline at its end is ignored."""
    vault: VaultRef | None = None
    """Field of a secret in HashiCorp Vault."""

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            raise ValueError("a secret must not be in the file; write {file: /path} or {env: NAME}")  # noqa: TRY004 - pydantic reads ValueError
        return value

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if sum(value is not None for _, value in self) != 1:
            raise ValueError(f"needs exactly one of {REFERENCE_KEYS}; write {{file: /path}} or {{env: NAME}}")
        return self

    @property
    def kind(self) -> str:
        """The key of the reference, one of `REFERENCES`."""
        return next(key for key, value in self if value is not None)

    @property
    def target(self) -> str:
        """The path, variable, name, OCID, or path and field of the reference."""
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
