"""The admin port: what an operator, an orchestrator and a Prometheus ask, apart from everything that is proxied.

`AdminServer` answers five paths from a `Desk`, which `app` puts up: `/livez` (the loop turns), `/readyz` (tokens can be
had), `/metrics`, `/status` and `/instances` (the last calls). Whoever may not call is refused before anything is looked
up, a page in a browser above all. `asking` is the other side, without a loop: `probe` uses it for a container's health
check, which has no curl, and `instances` for a person who looks for a call.
"""
