"""Hooks are called by real processes: once for each event, by one replica, and never at the cost of calls."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.identity import Identity, answer, refusal
from tests.fakes.process import Document, Process, gateway, run
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import wait_until
from tests.system.scene import SECRETS, Settings, credential, route, simple, written

pytestmark = pytest.mark.usefixtures("within_an_hour")

BAD_GATEWAY = b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n"
SECRET_PATH = "T000/secret-path-of-the-hook"
STATE_KEY = {"STATE_KEY": "0123456789abcdef" * 4}


def hook_url(hook: Identity) -> str:
    return hook.url.replace("oauth2/v1/token", SECRET_PATH)


def documents(hook: Identity) -> list[Document]:
    return [json.loads(request.body) for request in hook.requests]


def scene(identity: Identity, refusing: Identity, upstream: Upstream, **more: Any) -> Settings:
    """Three routes: `orders` gets no token, `stock` has a service, `limited` a caller with a quota."""
    document = simple(identity.url, upstream.url, **more)
    document["credentials"]["bad"] = credential(refusing.url)
    document["services"] = {"acme": {"url": upstream.url}}
    document["callers"] = {"lab": {"networks": ["127.0.0.0/8"], "quota": {"calls": "1/d"}}}
    document["routes"][0]["credential"] = "bad"
    document["routes"] += [route("stock", upstream.url), route("limited", upstream.url, callers=["lab"])]
    return document


async def open_circuit(gate: Process, upstream: Upstream) -> None:
    upstream.script += [BAD_GATEWAY] * 5
    while (await gate.get("/stock/"))[0] != 503:
        pass


async def count(gate: Process, **labels: str) -> float:
    _, _, text = await gate.get("/metrics", address=gate.admin)
    pairs = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    name = f"oic_gateway_notifications_total{{{pairs}}} "
    return next((float(line[len(name) :]) for line in text.decode().splitlines() if line.startswith(name)), -1.0)


@pytest.mark.parametrize("workers", [1, 2])
async def test_each_event_calls_its_hooks_once(tmp_path: Path, workers: int) -> None:
    refusals = [refusal("invalid_client", 401, "<b>no such client</b>")] * 20
    async with (
        Identity() as identity,
        Identity(*refusals) as refusing,
        Upstream() as upstream,
        Identity() as hook,
        Identity() as quota_hook,
    ):
        hooks = [{"url": {"env": "HOOK"}}, {"url": {"env": "QUOTA_HOOK"}, "on": ["quota"]}]
        console = {"url": "http://127.0.0.1:9090"}
        document = scene(identity, refusing, upstream, notify=hooks, workers=workers, console=console)
        urls = {"HOOK": hook_url(hook), "QUOTA_HOOK": hook_url(quota_hook)}
        async with gateway(written(tmp_path, document), **SECRETS, **urls) as gate:
            assert (await gate.get("/limited/"))[0] == 200
            await quota_hook.wait_for_requests(1)
            assert (await gate.get("/orders/"))[0] == 502
            await hook.wait_for_requests(2)
            await open_circuit(gate, upstream)
            await hook.wait_for_requests(3)
            found = {one["event"]: one for one in documents(hook)}
            assert sorted(found) == ["breaker-open", "quota", "token-refused"]
            refused = found["token-refused"]
            assert (refused["credential"], refused["code"]) == ("bad", "invalid_client")
            assert refused["url"] == "http://127.0.0.1:9090/console/credentials/bad"
            assert refused["means"]
            assert refused["remedy"] in refused["text"]
            assert "<b>" not in refused["text"]
            assert (found["breaker-open"]["service"], found["quota"]["caller"]) == ("acme", "lab")
            assert [one["event"] for one in documents(quota_hook)] == ["quota"]
            assert {request.line.split()[1] for request in hook.requests} == {f"/{SECRET_PATH}"}

            async def are_counted() -> bool:
                return await count(gate, hook="notify[0]", result="ok") == 3

            await wait_until(are_counted)
            assert await count(gate, hook="notify[1]", result="failed") == 0
            assert len(await gate.wait_for_events("notification-sent", 4)) == 4
            assert SECRET_PATH not in gate.output_text() + json.dumps((await gate.ask("/status"))[1])


async def test_one_of_two_replicas_sends(tmp_path: Path) -> None:
    async with (
        Identity() as identity,
        Identity(*[refusal("invalid_client", 401)] * 20) as refusing,
        Upstream() as upstream,
        Identity() as hook,
    ):
        state = {"path": str(tmp_path / "state.db"), "keys": [{"env": "STATE_KEY"}], "timeout": "20s"}
        file = written(tmp_path, scene(identity, refusing, upstream, notify=[{"url": {"env": "HOOK"}}], state=state))
        variables = SECRETS | STATE_KEY | {"HOOK": hook_url(hook)}
        async with gateway(file, **variables) as one, gateway(file, **variables) as other:
            assert (await one.get("/orders/"))[0] == 502
            await hook.wait_for_requests(1)
            assert (await other.get("/orders/"))[0] == 502
            await open_circuit(other, upstream)
            await hook.wait_for_requests(2)
            assert [one["event"] for one in documents(hook)] == ["token-refused", "breaker-open"]


async def test_hooks_that_are_slow_or_down_harm_no_call(tmp_path: Path) -> None:
    async with (
        Identity() as identity,
        Identity(*[refusal("invalid_client", 401)] * 20) as refusing,
        Upstream() as upstream,
        Identity() as target,
        Identity() as proxy,
    ):
        moved = answer(302, location=target.url)
        async with (
            Identity(*[moved] * 50) as redirecting,
            Identity(*[answer(200).behind(asyncio.Event())] * 50) as slow,
        ):
            hooks = [
                {"url": {"env": "REDIRECTING"}},
                {"url": {"env": "SLOW"}, "timeout": "50ms"},
                {
                    "url": {"env": "TARGET"},
                    "proxy": {"url": f"http://127.0.0.1:{proxy.url.split(':')[2].split('/')[0]}"},
                },
            ]
            document = scene(identity, refusing, upstream, notify=hooks)
            urls = {"REDIRECTING": hook_url(redirecting), "SLOW": hook_url(slow), "TARGET": hook_url(target)}
            async with gateway(written(tmp_path, document), **SECRETS, **urls) as gate:
                assert (await gate.get("/orders/"))[0] == 502
                await slow.wait_for_requests(1)
                assert {(await gate.get("/stock/"))[0] for _ in range(20)} == {200}
                await proxy.wait_for_requests(1)
                assert proxy.requests[0].line.startswith(f"POST {hook_url(target)} ")

                async def have_failed() -> bool:
                    return min([await count(gate, hook=f"notify[{n}]", result="failed") for n in (0, 1)]) >= 1

                await wait_until(have_failed)
                failed = await gate.wait_for_events("notification-failed", 2)
                assert {event["hook"] for event in failed} == {"notify[0]", "notify[1]"}
                assert any("redirects are not followed" in event["message"] for event in failed)
                assert len(slow.requests) >= 3
                assert SECRET_PATH not in gate.output_text()
        assert target.requests == []


async def test_the_check_reports_hooks_that_cannot_work(tmp_path: Path) -> None:
    hooks: list[Any] = [
        {"url": {"env": "NO_URL"}},
        {"url": f"https://hooks.example.com/{SECRET_PATH}"},
        {"url": {"env": "HOOK"}, "on": ["quota", "quota"]},
    ]
    file = written(tmp_path, simple("http://127.0.0.1:1/token", "http://127.0.0.1:1/", notify=hooks))
    checked = await run("check", file, **SECRETS, NO_URL="hooks.example.com", HOOK="http://hooks.example.com/x")
    text = checked.out + checked.err
    assert checked.status == 78
    assert "notify[0].url: is not an http or https URL" in text
    assert "notify[1].url: a secret must not be in the file" in text
    assert "notify[2].on: names an event twice" in text
    assert "notify[2].url: warning: sends notifications unencrypted" in text
    assert SECRET_PATH not in text
