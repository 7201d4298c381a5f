"""The way to another host: names, addresses, egress proxies, TLS.

`dialing` makes a connection to an `Origin`: it looks the name up, connects (`resolver`, `loop`), opens a CONNECT tunnel
where an egress proxy stands between (`tunnel`), and speaks TLS (`tls`). `egress` (pure) reads proxy URLs and decides
from HTTPS_PROXY and NO_PROXY which URL goes through which proxy. Routes, token requests and the checks use the same.
"""
