"""The admin port: what an operator, an orchestrator and a Prometheus ask, apart from everything that is proxied.

`AdminServer` answers four paths from a `Desk`, which `app` puts up: `/livez` (the loop turns), `/readyz` (tokens can be
had), `/metrics` and `/status`. Whoever may not call is refused before anything is looked up, a page in a browser above
all. `probe` is the other side, for a container's health check, which has no curl.
"""
