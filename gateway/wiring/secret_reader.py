"""Builds the reader of the secrets of a configuration, with the servers that have some of them."""

import ssl
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from gateway.config.model import Config, OciSettings
from gateway.config.oci_vault import OciVault
from gateway.config.secrets import SecretReader
from gateway.config.strict_model import SecretRef, TlsSettings
from gateway.config.vault_environment import resolve_vault
from gateway.config.vault_model import VaultSettings
from gateway.network.dial import EgressProxy
from gateway.network.egress_proxy import ProxyEnvironment
from gateway.wiring.outbound import EgressSelector, TlsContexts, client_tls_context

if TYPE_CHECKING:
    from gateway.config.hashicorp_vault import HashiCorpVault

SecretServers = tuple[OciSettings, VaultSettings]
"""The settings of the servers that have secrets."""


def secret_servers(config: Config) -> SecretServers:
    """Return the settings of the servers that a configuration names."""
    return config.oci, config.vault


def build_secret_reader(environ: Mapping[str, str], servers: SecretServers) -> SecretReader:
    """Return a reader of secrets. Contact no server, open no file."""
    oci, vault = servers
    stores = {"oci_vault": OciVault(oci)}
    settings = resolve_vault(vault, environ)
    if settings.url is None:
        return SecretReader(environ, stores=stores)
    return SecretReader(environ, stores={**stores, "vault": _build_vault(environ, settings, stores)})


def _build_vault(
    environ: Mapping[str, str], settings: VaultSettings, stores: Mapping[str, OciVault]
) -> "HashiCorpVault":
    from gateway.config.hashicorp_vault import HashiCorpVault  # noqa: PLC0415 - only with a Vault

    secrets = SecretReader(environ, stores=stores)
    egress = EgressSelector(ProxyEnvironment.from_environ(environ), secrets)

    def load_proxy() -> EgressProxy | None:
        load = egress.proxy_loader(settings.url or "", settings.proxy, settings.tls, TlsContexts())
        return None if load is None else load()

    def read_reference(ref: SecretRef) -> str:
        return secrets.read(ref).get_secret_value()

    contexts = _Contexts(settings.tls or TlsSettings(), secrets)
    return HashiCorpVault(settings, read_reference=read_reference, tls=contexts.load, proxy=load_proxy)


class _Contexts:
    """The TLS context of a server, made again only after its file of authorities has changed."""

    def __init__(self, tls: TlsSettings, secrets: SecretReader) -> None:
        self._tls = tls
        self._secrets = secrets
        self._loaded: tuple[Hashable, ssl.SSLContext] | None = None

    def load(self) -> ssl.SSLContext:
        """Return the context. Raise OSError or ssl.SSLError for a file that cannot be used."""
        state = self._secrets.fingerprint(self._tls)
        if self._loaded is None or self._loaded[0] != state:
            self._loaded = state, client_tls_context(self._tls.ca)
        return self._loaded[1]
