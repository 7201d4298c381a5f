"""The real program, whose console answers with its backend's data as JSON in place of pages: `/console/METHOD?name=…`.

Run it in place of `python -m gateway`: `Process("serve", …).under(CONSOLE)`.
"""

import sys
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict, is_dataclass
from typing import Any

import msgspec
from aiohttp import web

from gateway.admin.console_backend import ConsoleBackend, SeriesQuery
from gateway.cli.main import main
from gateway.config.model import Config
from gateway.console import console

CONSOLE = (sys.executable, "-m", "tests.fakes.console_program")


class JsonConsole:
    """Serves the methods of the backend; `watch_calls` is a stream of lines, after one empty line."""

    def __init__(self, backend: ConsoleBackend, config: Config, *, environ: Mapping[str, str]) -> None:
        del config, environ
        self._backend = backend

    def apply_config(self, config: Config) -> None:
        """Change nothing."""

    async def answer(self, request: web.BaseRequest, peer: str | None, host: str) -> web.StreamResponse:
        """Answer a request."""
        del peer, host
        method, query = request.rel_url.path.rpartition("/")[2], request.rel_url.query
        if method == "watch_calls":
            return await self._stream(request)
        if method == "series":
            subject, step, since = query.get("subject", "total"), int(query.get("step", 1)), query.get("since", "0")
            wanted: Any = SeriesQuery(subject, query.get("name", ""), step, float(since))  # type: ignore[arg-type]
            answer = await self._backend.series(wanted)
        else:
            answer = await getattr(self._backend, method)(*query.values())
        return web.json_response(plain(answer))

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"\n")
        async with aclosing(self._backend.watch_calls()) as batches:
            async for batch in batches:
                await response.write(b"".join(batch))
        return response


def plain(value: Any) -> Any:
    """Return dataclasses and structures as dictionaries."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    vars(console)["Console"] = JsonConsole
    if "gateway" in sys.argv:  # behind this program, which runs in place of it
        sys.argv = ["oic-gateway", *sys.argv[sys.argv.index("gateway") + 1 :]]
    sys.exit(main())
