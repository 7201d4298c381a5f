"""A real browser calls the gateway from a web page of another origin; run by `make test-browsers`.

The page fetches with a key and a body, which needs a preflight, and shows what it may read.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.process import run_command
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import before, route

KEY = "s3cr3t-key-of-the-page"
PAGE = """<!doctype html><title>page</title><pre id="seen"></pre><script>
const key = {"X-Api-Key": "%s", "Content-Type": "application/json"};
const calls = {
  post: ["orders", {method: "POST", headers: key, body: '{"item":"valve","quantity":3}'}],
  get: ["orders", {headers: key, credentials: "include"}],
  unknown: ["orders", {}],
  wrong_method: ["orders", {method: "DELETE", headers: key}],
  closed: ["closed", {headers: key}],
};
async function call(route, options) {
  try {
    const response = await fetch(`http://%s/${route}/`, options);
    const read = name => response.headers.get(name);
    return [response.status, !!read("x-oracle-ics-instance-id"), !!read("x-request-id"), read("x-gateway-error")];
  } catch (error) { return [error.name]; }
}
(async () => {
  const seen = {};
  for (const [name, [route, options]] of Object.entries(calls)) seen[name] = await call(route, options);
  document.getElementById("seen").textContent = `SEEN ${JSON.stringify(seen)} END`;
})();
</script>
"""


@asynccontextmanager
async def page_server(bodies: dict[str, str]) -> AsyncIterator[str]:
    """Serve `bodies["page"]` at every path; yield its origin."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = bodies["page"].encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def visited(url: str) -> dict[str, list[object]]:
    """What the page shows once it has ended its calls."""
    with tempfile.TemporaryDirectory() as profile:
        status, out, err = await run_command(
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
            "--no-first-run", "--disable-background-networking", "--virtual-time-budget=20000", "--dump-dom", url,
        )  # fmt: skip
    assert status == 0, err.decode(errors="replace")
    text = out.decode()
    assert "SEEN " in text, text + err.decode(errors="replace")
    found: dict[str, list[object]] = json.loads(text.partition("SEEN ")[2].partition(" END")[0].replace("&quot;", '"'))
    return found


@pytest.mark.parametrize("origins", ["listed", "any"])
async def test_a_page_of_a_listed_origin_calls_the_gateway(tmp_path: Path, origins: str) -> None:
    file = tmp_path / "key"
    file.write_text(KEY, encoding="utf-8")
    bodies: dict[str, str] = {}
    async with Sandbox() as sandbox, page_server(bodies) as origin, asyncio.timeout(2 * TIME_LIMIT):
        listed = [origin] if origins == "listed" else ["*"]
        settings = {
            "callers": {"page": {"api_key": {"file": str(file)}}},
            "routes": [
                route("orders", sandbox.upstream("ORDERS"), callers=["page"], origins=listed, methods=["GET", "POST"]),
                route("closed", sandbox.upstream("ORDERS")),
            ],
        }
        async with before(tmp_path, sandbox, **settings) as gate:
            bodies["page"] = PAGE % (KEY, gate.listen)
            seen = await visited(f"{origin}/")
            assert seen["post"] == [201, True, True, None]
            # A page may not send cookies to a route that every page may call.
            assert seen["get"] == ([200, True, True, None] if origins == "listed" else ["TypeError"])
            assert seen["unknown"] == [401, False, True, "unknown-caller"]
            assert seen["wrong_method"] == ["TypeError"]  # the preflight does not allow it
            assert seen["closed"] == ["TypeError"]
            refused = [line for line in gate.records if line["route"] == "closed"]
            assert {line["error"] for line in refused} == {"forbidden"}
