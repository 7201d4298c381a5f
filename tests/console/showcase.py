"""A gateway with fifteen minutes of traffic, for screenshots and browsers: recorded documents, as if recorded now."""

import json
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.admin.admin_server import AdminServer
from gateway.admin.console_backend import Series, TokenClaims, TokenFetch
from gateway.console.console import Console
from gateway.observe.timestamp import timestamp
from tests.console.recorded_gateway import NOW, RecordedGateway, recorded_calls, recorded_configuration, recorded_status
from tests.fakes.console_gate import PASSWORD, PERSON, console_config, write_users

USER = "jane.doe"
IDENTITY_DOMAIN = "idcs-5a0db0c5a0db0c5a0db0c5a0db0c5a0d.identity.oraclecloud.com"
"""At which a person signs in for `finance-clerk`: as long as a real one."""
_PERSON = PERSON | {"token_url": f"https://{IDENTITY_DOMAIN}/oauth2/v1/token"}


@asynccontextmanager
async def serve_showcase(gate: RecordedGateway, folder: Path) -> AsyncIterator[str]:
    """Serve the console of `gate` to `USER` with `PASSWORD`, an admin; yield its URL. Its files are in `folder`."""
    users = write_users(folder, **{USER: "admin"})
    settings = {"users": str(users), "audit": str(folder / "audit.jsonl")}
    config = console_config(folder, settings, {"finance-clerk": _PERSON})
    console = Console(gate, config, environ={})
    server = AdminServer(gate, may_call=lambda _, __, *, accepts_console_host: None)
    server.set_console(console.answer)
    try:
        yield f"http://{await server.start('127.0.0.1:0')}/console/"
    finally:
        await server.close()


async def log_in(page: Any, url: str) -> None:
    """Log in as a person does, in the page of a browser."""
    await page.goto(url)
    await page.get_by_label("Name").fill(USER)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in", exact=True).click()
    await page.get_by_role("heading", name="Overview").wait_for()


_TIMES = ("since", "at", "obtained")
_LENGTH = 900
"""Seconds of traffic."""


def showcase_gateway(now: float) -> RecordedGateway:
    """One whose documents were recorded at `now`, in epoch seconds."""
    view = recorded_configuration()
    assert view.last_reload is not None
    return RecordedGateway(
        status_document=_moved(recorded_status(), now - NOW),
        calls=tuple(_moved_call(line, now - NOW) for line in recorded_calls()),
        claims=_claims(now),
        fetches=_fetches(now),
        one_series=_traffic(now),
        configuration_view=replace(view, loaded_at=now - 86_400, last_reload=replace(view.last_reload, at=now - 3600)),
    )


def _moved(document: Any, seconds: float) -> Any:
    """The document with its times later by so many seconds."""
    if isinstance(document, list):
        return [_moved(part, seconds) for part in document]
    if not isinstance(document, dict):
        return document
    moved = {name: _moved(part, seconds) for name, part in document.items()}
    return moved | {name: moved[name] + seconds for name in _TIMES if isinstance(moved.get(name), float)}


def _moved_call(line: bytes, seconds: float) -> bytes:
    record = json.loads(line)
    record["time"] = timestamp(NOW + seconds - (NOW - _epoch(record["time"])) * 60)  # a minute apart, not a second
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _epoch(text: str) -> float:
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone + float(text[19:23])


def _claims(now: float) -> TokenClaims:
    values = {
        "iss": "https://identity.oraclecloud.com/",
        "sub": "sandbox-app",
        "aud": "https://5A0DB0C5A0DB0C5A0DB0C5A0DB0C5A0D.integration.us-phoenix-1.ocp.oraclecloud.com:443",
        "scope": "urn:opc:resource:consumer::all",
        "client_id": "sandbox-app",
    }
    return TokenClaims(now - 12, now + 3588, values)


def _fetches(now: float) -> tuple[TokenFetch, ...]:
    refusal = ("invalid_client", "invalid_client: Client authentication failed.")
    return (
        TokenFetch(now - 12, 0.041, "ok", "renewal"),
        TokenFetch(now - 2900, 0.052, "ok", "renewal"),
        TokenFetch(now - 5800, 0.049, "ok", "forced"),
        TokenFetch(now - 5830, 10.0, "unavailable", "caller", "timeout", "no response within 10 s"),
        TokenFetch(now - 5900, 0.03, "refused", "caller", *refusal),
    )


def _traffic(now: float) -> Series:
    """Traffic that rises and falls, with a minute of upstream errors; the same one each time."""
    chance = random.Random(14)
    seconds = range(_LENGTH)
    calls = [max(0, round(18 + 9 * math.sin(at / 140) + chance.gauss(0, 2.2))) for at in seconds]
    is_slow = [600 < at < 660 for at in seconds]
    p50 = [
        240 + 25 * math.sin(at / 90) + chance.uniform(-12, 12) + 400 * slow
        for at, slow in zip(seconds, is_slow, strict=True)
    ]
    series = Series(
        step=1,
        times=tuple(now - _LENGTH + at for at in seconds),
        seconds=(1.0,) * _LENGTH,
        calls=tuple(calls),
        errors={
            "upstream": tuple(int(slow and chance.random() < 0.7) * chance.randint(1, 4) for slow in is_slow),
            "caller": tuple(int(chance.random() < 0.02) for _ in seconds),
        },
        p50_ms=tuple(p50),
        p95_ms=tuple(value * 1.9 + chance.uniform(-30, 30) for value in p50),
        p99_ms=tuple(value * 2.8 + chance.uniform(-60, 90) for value in p50),
        in_flight=tuple(
            max(0, round(count * value / 1000 + chance.gauss(0, 0.6))) for count, value in zip(calls, p50, strict=True)
        ),
    )
    waiting = tuple(int(slow) * max(0, count - 4) for slow, count in zip(is_slow, series.in_flight, strict=True))
    return replace(series, running=series.in_flight, waiting=waiting)
