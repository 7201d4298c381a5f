"""What fails on the way to an identity domain or an instance, before a byte of HTTP is said."""

from gateway.diagnosis.catalog.entry import NETWORK, CatalogEntry

NETWORK_MISTAKES = {
    "dns": CatalogEntry(
        "the host name does not resolve",
        "The host name is not known here: it is misspelt, or this machine's DNS does not know it; behind an egress "
        "proxy the proxy resolves it.",
        "See that the host name of `token_url` or `upstream` is that of the console's Domain URL or Design/Runtime "
        "URL and resolves here (DNS); an egress proxy may be needed.",
    ),
    "connect": CatalogEntry(
        "the port refuses the connection",
        "The port refuses: nobody listens there, or a firewall or the instance's allow-list says no.",
        "See that the way to the identity domain or the instance is open: host, port, firewall, an egress proxy; and "
        f"the instance's allow-list for this host's egress address ({NETWORK}).",
    ),
    "timeout": CatalogEntry(
        "no connection, or no answer, in time",
        "A firewall drops what is sent, an egress proxy is needed, or the other side is overloaded.",
        "See that the way to the identity domain or the instance is open; check the port and the firewall; an egress "
        f"proxy may be needed, or this host's egress address in the instance's allow-list ({NETWORK}).",
    ),
    "network": CatalogEntry(
        "the connection breaks",
        "Something on the way cuts it: a firewall, a balancer, an egress proxy.",
        "Look at the way from this host, and try again.",
    ),
    "broken": CatalogEntry(
        "the connection closes without a whole answer",
        "The other side, or something on the way, hangs up.",
        "Try again; if it goes on, look at egress proxies and firewalls on the way.",
    ),
    "proxy": CatalogEntry(
        "the egress proxy cannot be reached, or refuses the tunnel",
        "The proxy's address is wrong, or it does not let this host pass.",
        "Look at the egress proxy: its address (`proxy`, HTTPS_PROXY), its user and password, and whether it lets "
        "this host and port pass through a CONNECT tunnel; for an https:// proxy, that its certificate is trusted "
        "(`proxy.tls.ca`, `tls.ca`); NO_PROXY names what needs none.",
    ),
    "proxy-login": CatalogEntry(
        "the egress proxy answers 407",
        "It wants a user and a password, or refuses those that it was told.",
        "Set `proxy: {url, username, password}`, or user and password in HTTPS_PROXY; the egress proxy opens no "
        "tunnel without them.",
    ),
    "tls": CatalogEntry(
        "the TLS handshake fails",
        "The port does not speak TLS, or something on the way cuts the handshake off.",
        "See that `token_url` or `upstream` has the right scheme and port: https against http; and that no firewall "
        "cuts TLS.",
    ),
    "tls-trust": CatalogEntry(
        "the certificate is not trusted",
        "Its authority is not among those that are trusted here, or the chain that is sent lacks one.",
        "Set `tls.ca` (`tls: {ca: FILE}`) to the authority that signed the certificate, such as that of a TLS "
        "inspecting proxy; or bring this system's authorities up to date (ca-certificates).",
    ),
    "tls-inspection": CatalogEntry(
        "the certificate is signed by an authority that is not Oracle's, such as a company's own",
        "A TLS inspection proxy stands on the way: it opens the connection and signs certificates of its own.",
        "Have it let this host pass unopened, or give its authority as `tls: {ca: FILE}` for the credential and the "
        "route (`tls.ca`).",
    ),
    "tls-name": CatalogEntry(
        "the certificate is for other names",
        "The host answers for another site: a custom endpoint without its certificate, an IP address in place of the "
        "name, or DNS that leads elsewhere.",
        "Write the host name that the certificate is for; for a custom endpoint look at its certificate in Developer "
        "Services → Integration → the instance.",
    ),
    "tls-expired": CatalogEntry(
        "the certificate is not valid now",
        "It has ended or not begun: the other side's certificate is old, or this machine's clock is wrong.",
        "Compare this machine's clock first; then have whoever runs the host renew its certificate.",
    ),
}
