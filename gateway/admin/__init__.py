"""The admin port, for operators, orchestrators and Prometheus; separate from everything that is proxied.

The `AdminServer` (`admin_server`) answers from an `AdminBackend` (`backend`), which `gateway.server` implements:
`/livez` (the loop runs), `/readyz` (tokens are available), `/metrics`, `/status`, `/instances` (the last calls) and
`/usage` (billed messages). Callers that are not allowed, above all web pages, are rejected before anything is looked
up. `admin_web_server` is the HTTP server below it; connections come from an `acceptor` for each socket.
`admin_responses` makes the responses. `client` is the other side, without a loop: `probe` uses it for the health check
of a container, `instances` to search for a call, `usage` for a report. `address` parses the addresses of both sides,
and `forwarded` recognises requests that a proxy passed on.
The web console is passed in, and only its paths may be used by pages. `console_backend` is the interface that it needs.
"""
