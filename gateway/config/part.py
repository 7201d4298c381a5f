"""What every part of the model is made of: a strict mapping, a secret by reference, how a certificate is checked."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.config.values import VARIABLE_PATTERN, FilePath


class Part(BaseModel):
    """Any mapping of the file: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class SecretRef(Part):
    """Where a secret is found; exactly one of the two."""

    file: FilePath | None = None
    """File that holds the secret, relative to the configuration file; a newline at its end is left off."""
    env: Annotated[str, Field(pattern=VARIABLE_PATTERN)] | None = None
    """Environment variable that holds the secret."""

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            raise ValueError("a secret must not stand in the file; write {file: /path} or {env: NAME}")  # noqa: TRY004 - pydantic reads ValueError
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("needs exactly one of `file` and `env`; write {file: /path} or {env: NAME}")
        return self


class Tls(Part):
    """How the other side's certificate is checked."""

    ca: FilePath | None = None
    """PEM file of the authorities to trust in place of the system's, relative to the configuration file."""
