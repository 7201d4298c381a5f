"""The obvious program: a proxy of `web.Application` and `ClientSession`, as one writes it in an hour.

It does only the measured job (a token by client credentials, an access log line and two meters per request): bodies are
buffered, fields pass unchanged. `python naive.py FILE` with the completed naive.yaml.
"""

import logging
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import yaml
from aiohttp import ClientSession, TCPConnector, web
from prometheus_client import Counter, Histogram

REQUESTS = Counter("requests", "Requests answered.", ["method", "status"])
SECONDS = Histogram("seconds", "Time taken.", ["method"])
NOT_PASSED = {"host", "authorization", "connection", "keep-alive", "transfer-encoding", "content-length"}


class Naive:
    """Serves with `settings`, the content of naive.yaml."""

    def __init__(self, settings: dict[str, object]) -> None:
        self.settings = settings
        self.token, self.until = "", 0.0

    async def life(self, _: web.Application) -> AsyncIterator[None]:
        """Open the session while the application runs."""
        connector = TCPConnector(limit=0, ssl=ssl.create_default_context(cafile=str(self.settings["ca"])))
        async with ClientSession(connector=connector, auto_decompress=False) as self.session:
            yield

    async def bearer(self) -> str:
        """Return the token; fetch another when it has expired."""
        if time.monotonic() > self.until:
            form = {"grant_type": "client_credentials", "scope": "urn:opc:resource:consumer::all"}
            form |= {"client_id": str(self.settings["client_id"]), "client_secret": os.environ["BENCH_SECRET"]}
            async with self.session.post(str(self.settings["token_url"]), data=form) as reply:
                content = await reply.json()
            self.token, self.until = content["access_token"], time.monotonic() + content["expires_in"] - 10
        return self.token

    async def handle(self, request: web.Request) -> web.Response:
        """Forward one request and its response."""
        started_at = time.monotonic()
        upstreams = self.settings["upstreams"]
        assert isinstance(upstreams, dict)
        url = upstreams[request.match_info["name"]] + request.match_info["rest"]
        headers = {name: value for name, value in request.headers.items() if name.lower() not in NOT_PASSED}
        headers["Authorization"] = f"Bearer {await self.bearer()}"
        body = await request.read() if request.can_read_body else None
        sent = self.session.request(request.method, url, params=request.query, headers=headers, data=body)
        async with sent as reply:
            back = {name: value for name, value in reply.headers.items() if name.lower() not in NOT_PASSED}
            answer = web.Response(status=reply.status, headers=back, body=await reply.read())
        REQUESTS.labels(request.method, reply.status).inc()
        SECONDS.labels(request.method).observe(time.monotonic() - started_at)
        return answer


def main() -> None:
    settings = yaml.safe_load(Path(sys.argv[1]).read_text())
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    naive = Naive(settings)
    app = web.Application(client_max_size=2 * 1024**3)
    app.router.add_route("*", "/{name}/{rest:.*}", naive.handle)
    app.cleanup_ctx.append(naive.life)
    web.run_app(app, host="127.0.0.1", port=settings["port"], print=None)


if __name__ == "__main__":
    main()
