"""Outbound connections: TLS contexts by trusted authorities, egress proxies by URL."""

import ssl
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import msgspec

from gateway.config.secrets import SecretReader
from gateway.config.strict_model import ClientTlsSettings, ProxySettings, TlsSettings
from gateway.network.dial import EgressProxy, basic_authorization
from gateway.network.egress_proxy import ProxyEnvironment, read_proxy_url
from gateway.system.files import library_path

ProxyLoader = Callable[[], EgressProxy]
"""Reads the certificates and the password of an egress proxy, in a thread. Raises OSError or ssl.SSLError."""


class TlsContexts:
    """TLS contexts of clients, one for each set of trusted authorities."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[type, str | None], ssl.SSLContext] = {}

    def context(self, tls: TlsSettings | None) -> ssl.SSLContext:
        """Return a context that trusts the authorities in `ca`, or those of the system. Raise OSError or ssl.SSLError
        for a file that cannot be used.
        """
        ca = tls.ca if tls is not None else None
        key = type(ca), ca  # the main file may name the same file without confining it
        if key not in self._contexts:
            self._contexts[key] = client_tls_context(ca)
        return self._contexts[key]


def client_tls_context(ca: str | None) -> ssl.SSLContext:
    """Return a client's context that trusts the authorities in the PEM file `ca`, or those of the system. It requires
    TLS 1.2, as OIC documents.
    """
    with nullcontext(None) if ca is None else library_path(ca) as path:
        context = ssl.create_default_context(cafile=path)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # as in TLS 1.3: a write never has to wait for a read
    context.set_alpn_protocols(["http/1.1"])
    return context


def client_certificate_context(tls: ClientTlsSettings, password: Callable[[], str]) -> ssl.SSLContext:
    """Return a client's context that presents the certificate of `tls` (RFC 8705)."""
    context = client_tls_context(tls.ca)
    if tls.cert is not None:
        with library_path(tls.cert) as cert, library_path(tls.key or tls.cert) as key:
            # Always pass a password: without one, OpenSSL prompts on the terminal.
            context.load_cert_chain(cert, key, password=password)
    return context


class EgressSelector(msgspec.Struct, frozen=True):
    """Selects the egress proxy of a URL: the configured one, else the one that HTTPS_PROXY and NO_PROXY name for it."""

    environment: ProxyEnvironment
    secrets: SecretReader

    def proxy_loader(
        self, url: str, configured: ProxySettings | None, tls: TlsSettings | None, contexts: TlsContexts
    ) -> ProxyLoader | None:
        """Return a function that loads the egress proxy for `url`; None for a direct connection. Open no file.

        The certificate of an https proxy is verified by the proxy's own `tls`, else by `tls`, that of the host behind
        the proxy.
        """
        if configured is not None:
            proxy = read_proxy_url(configured.url)
            password = self.secrets.reader(configured.password) if configured.password is not None else str
            username, tls = configured.username or "", configured.tls or tls
        elif (from_environment := self.environment.proxy_for(url)) is not None:
            proxy, username = from_environment, from_environment.username
            password = partial(str, from_environment.password)
        else:
            return None
        context = partial(contexts.context, tls) if proxy.is_tls else None
        return partial(_load_proxy, proxy.host, proxy.port, username, password, context)


def _load_proxy(
    host: str, port: int, username: str, password: Callable[[], str], tls: Callable[[], ssl.SSLContext] | None
) -> EgressProxy:
    authorization = basic_authorization(username, password()) if username else ""
    return EgressProxy(host, port, authorization, tls() if tls is not None else None)
