"""oic-gateway: legacy systems call in plain HTTP, Oracle Integration Cloud (OIC) is called with OAuth 2.0.

`docs/architecture.md` has the layout, the request pipeline and the path of a token. Read `proxy/forward.py` first: it
runs every request. Packages: `cli`, `server`, `init`, `wiring`, `checks`, `signin`, `rotation`, `proxy`, `http`,
`callers`, `limits`, `services`, `oauth`, `config`, `admin`, `console`, `sandbox`, `diagnosis`, `oic`, `content`,
`history`, `network`, `notifications`, `observe`, `telemetry`, `system`; and the module `errors`.
"""

__version__ = "0.1.0"
