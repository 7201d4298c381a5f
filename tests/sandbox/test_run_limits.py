"""The limits of runs: 429 with the body that Oracle documents."""

import asyncio
import json

from gateway.sandbox import Sandbox
from gateway.sandbox.run_limits import RunLimits
from tests.sandbox.conftest import Send

BODY = {
    "type": "429",
    "title": "Too busy right now. Please retry later.",
    "detail": "The service is temporarily busy. Please retry later.",
}


async def test_more_runs_than_the_limit_are_refused(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.concurrency = 2
    sandbox.switches.slow_gate = asyncio.Event()
    running = [asyncio.create_task(call("GET", f"{sandbox.upstream('SLOW')}1")) for _ in range(2)]
    await sandbox.calls.reached(2)
    status, headers, body = await call("GET", sandbox.upstream("ORDERS"))
    assert (status, json.loads(body)) == (429, BODY)
    assert "x-oracle-ics-instance-id" not in headers
    assert (await call("GET", f"{sandbox.upstream('ORDERS')}metadata"))[0] == 200, "a description is no run"
    sandbox.switches.slow_gate.set()
    assert [(await one)[0] for one in running] == [200, 200]
    assert (await call("GET", sandbox.upstream("ORDERS")))[0] == 200
    assert (sandbox.run_limits.most, sandbox.run_limits.refused) == (2, 1)


async def test_full_queue_refuses_asynchronous_runs(sandbox: Sandbox, call: Send) -> None:
    sandbox.switches.async_depth = 3
    answers = [await call("POST", sandbox.upstream("ASYNC"), data=b"{}") for _ in range(4)]
    assert [status for status, _, _ in answers] == [202, 202, 202, 429]
    assert json.loads(answers[3][2]) == BODY


def test_queued_runs_end_after_their_time() -> None:
    limits = RunLimits()
    assert [limits.enqueue(1, now=at, seconds=10.0) for at in (0.0, 9.0, 10.0, 11.0)] == [True, False, True, False]
