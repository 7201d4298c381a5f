"""Connections to other hosts: DNS, TCP, egress proxies and TLS. Routes, token requests and checks share this package.

`dial` connects to an `Origin`. It resolves the name (`resolver`, through the loop of `event_loop`), connects, opens a
CONNECT tunnel if an egress proxy is configured (`tunnel`), and does the TLS handshake (`tls_client`). `egress_proxy`
(pure) reads proxy URLs, and selects the proxy of a URL by HTTPS_PROXY and NO_PROXY. `caller_tls` is the server side of
TLS, for connections of callers; `tls` is common to both sides. `aiohttp_import` imports aiohttp without loading CA
certificates; `dialing_connector` makes its sessions connect with `dial`. `http_request` sends one request of the
gateway itself, such as a token request; `http_failure` describes why it failed.
"""
