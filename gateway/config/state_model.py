"""The shape of `state:`, where tokens are kept. Imported by the model alone."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.config.redis_url import parse_redis_url
from gateway.config.strict_model import SecretRef, StrictModel, Tls, exactly_one
from gateway.config.values import Duration, FilePath, Name, Text


def _redis_url(value: str) -> str:
    parse_redis_url(value)
    return value


class Login(StrictModel):
    """Who the gateway is to the sentinels."""

    username: Text | None = None
    """User, where the sentinels know users."""
    password: SecretRef
    """Password, by reference; read again for each connection."""


class RedisSettings(StrictModel):
    """The Redis that replicas share."""

    url: Annotated[str, AfterValidator(_redis_url)]
    """Where it is: `redis://HOST:PORT/DB`, `unix:/path`, `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE`,
    `redis+cluster://HOST:PORT,HOST:PORT`; `rediss` in place of `redis` speaks TLS."""
    username: Text | None = None
    """User, where Redis knows users (ACL)."""
    password: SecretRef | None = None
    """Password, by reference; read again for each connection."""
    tls: Tls | None = None
    """How Redis's certificate is checked."""
    sentinel: Login | None = None
    """Who the gateway is to the sentinels, where they ask."""
    prefix: Name = "oic-gateway"
    """Beginning of every name in Redis: gateways that are to share nothing have different ones."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        place = parse_redis_url(self.url)
        if self.username is not None and self.password is None:
            raise ValueError("has a `username` but no `password`; write both or none")
        if self.tls is not None and not place.is_tls:
            raise ValueError("has `tls`, but its `url` does not speak it; write rediss in place of redis")
        if self.sentinel is not None and not place.service:
            raise ValueError("has `sentinel`, but its `url` names none; write redis+sentinel://HOST:PORT/SERVICE")
        return self


class State(StrictModel):
    """Where tokens are kept: a file for the workers of one machine, or a Redis for replicas."""

    model_config = exactly_one("path", "redis", required=("keys",))
    path: FilePath | None = None
    """SQLite file, made where it does not exist; on a disk of this machine, relative to the configuration file."""
    redis: RedisSettings | None = None
    """The Redis that replicas share."""
    keys: list[SecretRef] = Field(default_factory=list, json_schema_extra={"minItems": 1})
    """Keys that entries are encrypted with, by reference: 32 bytes each, in base64 or hex. The first one encrypts, all
    decrypt, so that a key can be changed."""
    timeout: Duration = 0.5
    """Longest time that one question to the store may take; after it the gateway goes on by itself."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.path is None) == (self.redis is None):
            raise ValueError("needs exactly one of `path` and `redis`; write path: FILE, or redis: {url: …}")
        if not self.keys:
            raise ValueError(
                "has no `keys` to encrypt with; make one by `openssl rand -base64 32 >FILE`, and write "
                "keys: [{file: FILE}]"
            )
        return self
