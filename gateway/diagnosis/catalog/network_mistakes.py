"""Failures of the connection to an identity domain or an instance, before HTTP begins."""

from gateway.diagnosis.catalog.entry import NETWORK, CatalogEntry

NETWORK_MISTAKES = {
    "dns": CatalogEntry(
        "the host name does not resolve",
        "The host name is misspelt, or this machine's DNS does not know it. Behind an egress proxy, the proxy "
        "resolves the name.",
        "Check that the host name of `token_url` or `upstream` equals that of the console's Domain URL or "
        "Design/Runtime URL and resolves here (DNS); an egress proxy may be needed.",
    ),
    "connect": CatalogEntry(
        "the port refuses the connection",
        "No program listens on the port, or a firewall or the instance's allow-list rejects the connection.",
        "Check the network path to the identity domain or the instance: host, port, firewall, an egress proxy; and "
        f"the instance's allow-list for this host's egress address ({NETWORK}).",
    ),
    "timeout": CatalogEntry(
        "no connection or no response in time",
        "A firewall drops packets, an egress proxy is needed, or the other side is overloaded.",
        "Check the network path to the identity domain or the instance: the port and the firewall; an egress proxy "
        f"may be needed, or this host's egress address in the instance's allow-list ({NETWORK}).",
    ),
    "network": CatalogEntry(
        "the connection breaks",
        "A firewall, a load balancer or an egress proxy closes the connection.",
        "Check the network path from this host, and try again.",
    ),
    "broken": CatalogEntry(
        "the connection closes before the response is complete",
        "The other side, or something between, closes the connection.",
        "Try again; if this repeats, check egress proxies and firewalls between here and there.",
    ),
    "proxy": CatalogEntry(
        "the egress proxy cannot be reached, or refuses the tunnel",
        "The proxy's address is wrong, or the proxy does not allow this host to connect.",
        "Check the egress proxy: its address (`proxy`, HTTPS_PROXY), its user and password, and whether it allows "
        "a CONNECT tunnel to this host and port; for an https:// proxy, that its certificate is trusted "
        "(`proxy.tls.ca`, `tls.ca`); NO_PROXY lists hosts that need no proxy.",
    ),
    "proxy-login": CatalogEntry(
        "the egress proxy answers 407",
        "The proxy requires a user and a password, or rejects the configured ones.",
        "Set `proxy: {url, username, password}`, or user and password in HTTPS_PROXY; the egress proxy opens no "
        "tunnel without them.",
    ),
    "tls": CatalogEntry(
        "the TLS handshake fails",
        "The port does not use TLS, or something between closes the connection during the handshake.",
        "Check that `token_url` or `upstream` has the right scheme and port (https or http), and that no firewall "
        "blocks TLS.",
    ),
    "tls-trust": CatalogEntry(
        "the certificate is not trusted",
        "This machine does not trust the certificate's authority, or the server does not send an intermediate "
        "certificate.",
        "Set `tls.ca` (`tls: {ca: FILE}`) to the authority that signed the certificate, such as that of a TLS "
        "inspecting proxy; or update this system's authorities (ca-certificates).",
    ),
    "tls-inspection": CatalogEntry(
        "the certificate is signed by an authority that is not Oracle's, such as a company's own",
        "A TLS inspection proxy decrypts the connection and presents its own certificate.",
        "Exempt this host from TLS inspection, or set `tls: {ca: FILE}` to the proxy's authority for the "
        "credential and the route (`tls.ca`).",
    ),
    "tls-name": CatalogEntry(
        "the certificate is for other names",
        "The server's certificate is for another site: a custom endpoint without its certificate, an IP address "
        "instead of the name, or a wrong DNS entry.",
        "Use the host name that the certificate is for; for a custom endpoint check its certificate in Developer "
        "Services → Integration → the instance.",
    ),
    "tls-expired": CatalogEntry(
        "the certificate is expired or not yet valid",
        "The server's certificate is old, or this machine's clock is wrong.",
        "Check this machine's clock first; then ask the operator of the host to renew its certificate.",
    ),
}
