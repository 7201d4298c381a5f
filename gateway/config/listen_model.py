"""The addresses for callers: one string, or a list of strings and mappings."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from gateway.config.strict_model import SecretRef, StrictModel
from gateway.config.values import Address, FilePath, Network

MAX_LISTENERS = 32
START_KEYS = ("tls", "proxy_protocol")
"""Keys of a listener that only a restart can add or remove."""


class ListenTls(StrictModel):
    """TLS of callers, from version 1.2 on."""

    cert: FilePath
    """PEM file of the certificate, followed by its chain; relative to the configuration file. The files are read again
    when they change, and at each reload."""
    key: FilePath | None = None
    """PEM file of the certificate's private key; omitted: it is in the file of `cert`."""
    key_password: SecretRef | None = None
    """Password of the private key, by reference."""
    client_ca: FilePath | None = None
    """PEM file of the authorities of callers' certificates. A certificate that a caller presents must be signed by one
    of them. Omitted: no certificate is requested."""
    client_certificate: Literal["optional", "required"] | None = None
    """Whether callers must present a certificate; requires `client_ca`. Default optional: a route may still require
    it."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.client_certificate is not None and self.client_ca is None:
            raise ValueError("has `client_certificate` without `client_ca`; add the authorities of callers")
        return self


class ListenSettings(StrictModel):
    """One address for callers, in a list."""

    address: Address
    """HOST:PORT or unix:/path; an address that is not loopback requires `allow`."""
    tls: ListenTls | None = None
    """TLS of callers, from version 1.2 on; omitted: plain HTTP."""
    proxy_protocol: Annotated[list[Network], Field(min_length=1)] | None = None
    """Networks (CIDR) of balancers. Each of their connections must begin with a header of the PROXY protocol, version 1
    or 2, which names the caller; those of other addresses must not."""

    @model_validator(mode="after")
    def _has_peers(self) -> Self:
        if self.proxy_protocol is not None and self.address.startswith("unix:"):
            raise ValueError("has `proxy_protocol` on a unix socket, whose peers have no address; use HOST:PORT")
        return self


def _kind_of_entry(value: object) -> str:
    return "[keys]" if isinstance(value, dict | StrictModel) else "[one]"


def _kind(value: object) -> str:
    return "[several]" if isinstance(value, list | dict) else "[one]"  # a mapping is an entry of a list


# Discriminators keep an error in one shape from being reported for the others, too; `messages` drops the tags.
ListenEntry = Annotated[
    Annotated[Address, Tag("[one]")] | Annotated[ListenSettings, Tag("[keys]")],
    Discriminator(_kind_of_entry),
]
Listen = Annotated[
    Annotated[Address, Tag("[one]")]
    | Annotated[Annotated[list[ListenEntry], Field(min_length=1, max_length=MAX_LISTENERS)], Tag("[several]")],
    Discriminator(_kind),
]
