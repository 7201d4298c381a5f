"""Connections to other hosts: names, addresses, egress proxies, TLS. Routes, token requests and checks use the same.
`caller_tls` is the TLS of callers.

`dial` connects to an `Origin`: it resolves the name (`resolver`, through the loop of `event_loop`), connects, opens a
CONNECT tunnel if an egress proxy is configured (`tunnel`), and does TLS (`tls`). `egress_proxy` (pure) reads proxy
URLs, and decides from HTTPS_PROXY and NO_PROXY which URL uses which proxy. `aiohttp_import` imports aiohttp without the
certificates that it reads at its import.
"""
