"""The shape of `state:`, the token store."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.config.redis_url import parse_redis_url
from gateway.config.strict_model import SecretRef, StrictModel, TlsSettings, exactly_one
from gateway.config.values import Duration, FilePath, Name, Text


def _redis_url(value: str) -> str:
    parse_redis_url(value)
    return value


class LoginSettings(StrictModel):
    """Login at the sentinels."""

    username: Text | None = None
    """User, if the sentinels have users."""
    password: SecretRef
    """Password, by reference; read again for each connection."""


class RedisSettings(StrictModel):
    """Redis that replicas share."""

    url: Annotated[str, AfterValidator(_redis_url)]
    """URL: `redis://HOST:PORT/DB`, `unix:/path`, `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE`,
    `redis+cluster://HOST:PORT,HOST:PORT`; `rediss` in place of `redis` uses TLS."""
    username: Text | None = None
    """User, if Redis has users (ACL)."""
    password: SecretRef | None = None
    """Password, by reference; read again for each connection."""
    tls: TlsSettings | None = None
    """Verification of the certificate of Redis."""
    sentinel: LoginSettings | None = None
    """Login at the sentinels, if they require one."""
    prefix: Name = "oic-gateway"
    """Prefix of all keys in Redis; gateways that must not share tokens have different prefixes."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        place = parse_redis_url(self.url)
        if self.username is not None and self.password is None:
            raise ValueError("has a `username` but no `password`; set both or none")
        if self.tls is not None and not place.is_tls:
            raise ValueError("has `tls`, but its `url` does not use TLS; write rediss in place of redis")
        if self.sentinel is not None and not place.service:
            raise ValueError("has `sentinel`, but its `url` names none; write redis+sentinel://HOST:PORT/SERVICE")
        return self


class StateSettings(StrictModel):
    """Token store: a file for the workers of one machine, or Redis for replicas."""

    model_config = exactly_one("path", "redis", required=("keys",))
    path: FilePath | None = None
    """SQLite file on a local disk, created if it does not exist; relative to the configuration file."""
    redis: RedisSettings | None = None
    """Redis that replicas share."""
    keys: list[SecretRef] = Field(default_factory=list, json_schema_extra={"minItems": 1})
    """Encryption keys, by reference: 32 bytes each, in base64 or hex. The first one encrypts, all decrypt, so that a
    key can be changed."""
    timeout: Duration = 0.5
    """Time limit of one store operation; after it the gateway continues without the store."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.path is None) == (self.redis is None):
            raise ValueError("needs exactly one of `path` and `redis`; write path: FILE, or redis: {url: …}")
        if not self.keys:
            raise ValueError(
                "has no encryption `keys`; create one with `openssl rand -base64 32 >FILE`, and write "
                "keys: [{file: FILE}]"
            )
        return self
