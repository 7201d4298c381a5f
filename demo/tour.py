"""The tour: each step shows one thing, prints the command to repeat it, and verifies the result.

Exit status: 0 if every step succeeds, 1 with the name of the step that fails, 130 after Ctrl-C.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from demo.browser import BrowserFailed, find_browser, take_screenshot
from demo.screen import Screen
from demo.stage import (
    HERE,
    PASSWORD,
    SECRET,
    SHORT_LIFE,
    TIME_LIMIT,
    TOKEN_LIFE,
    TOUR_LIMIT,
    USER,
    Answer,
    Event,
    Stage,
    StepFailed,
)
from gateway.cli.output import OutputError, run_with_output

PICTURE = HERE.parent / "build" / "console.png"
"""Where the tour leaves its picture of the console."""
_HELLO = HERE / "hello.xml"
_ORDER = '{"item":"valve","quantity":3}'
_JSON = {"Content-Type": "application/json"}
_XML = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '"hello"'}
_ADDRESS = "{http://schemas.xmlsoap.org/wsdl/soap/}address"
_UNAVAILABLE = 69

Step = Callable[[Stage, Screen], None]


def get(stage: Stage, screen: Screen) -> None:
    """GET without credentials"""
    screen.command(f"curl -i {_url(stage, '/orders/')}")
    answer = stage.call("/orders/")
    _expect_run(answer, 200)
    screen.good(f"200, {answer.content['count']} orders; OIC ran instance {answer.instance_id}")


def post(stage: Stage, screen: Screen) -> None:
    """POST without credentials; the Location points to the gateway"""
    screen.command(f"curl -i -H 'Content-Type: application/json' -d '{_ORDER}' {_url(stage, '/orders/')}")
    answer = stage.call("/orders/", _ORDER.encode(), headers=_JSON)
    _expect_run(answer, 201)
    where = answer.headers["Location"]
    _expect(where.startswith(_url(stage, "/orders/")), f"Location {where} is not a URL of the gateway")
    screen.good(f"201, instance {answer.instance_id}")
    made = stage.call(where.removeprefix(_url(stage, "")))
    _expect_run(made, 200)
    screen.good(f"Location {where} is a URL of the gateway: 200, instance {made.instance_id}")


def http10(stage: Stage, screen: Screen) -> None:
    """The same for an HTTP/1.0 caller"""
    screen.command(f"curl -i --http1.0 {_url(stage, '/orders/')}")
    answer = stage.call("/orders/", is_1_0=True)
    _expect_run(answer, 200)
    _expect("Transfer-Encoding" not in answer.headers, "an HTTP/1.0 caller got chunks")
    screen.good(f"200, instance {answer.instance_id}")


def asynchronous(stage: Stage, screen: Screen) -> None:
    """An asynchronous integration: accepted at once, found later by its instance id"""
    screen.command(f"curl -i -H 'Content-Type: application/json' -d '{_ORDER}' {_url(stage, '/async/')}")
    answer = stage.call("/async/", _ORDER.encode(), headers=_JSON)
    _expect_run(answer, 202)
    _expect(answer.body == b"", "a 202 came with a body")
    screen.good(f"202, no body, instance {answer.instance_id}")


def soap(stage: Stage, screen: Screen) -> None:
    """A SOAP integration: its WSDL, and a call to the address in it"""
    screen.command(f"curl '{_url(stage, '/hello/?wsdl')}'")
    wsdl = stage.call("/hello/?wsdl")
    _expect(wsdl.status == 200, f"the status is {wsdl.status}, not 200")
    for part in (stage.sandbox.removeprefix("http://127.0.0.1"), "/ic/"):
        _expect(part.encode() not in wsdl.body, f"the WSDL contains {part}, a part of an address of OIC")
    address = next(ET.fromstring(wsdl.body).iter(_ADDRESS)).get("location", "")
    _expect(address.startswith(_url(stage, "/hello/")), f"soap:address {address} is not a URL of the gateway")
    screen.good(f"soap:address is {address}, and no address of OIC is left")
    screen.command(f"curl -i -H 'Content-Type: text/xml' -d @demo/{_HELLO.name} {address}")
    answer = stage.call(address.removeprefix(_url(stage, "")), _HELLO.read_bytes(), headers=_XML)
    _expect_run(answer, 200)
    _expect(b"Hello, legacy" in answer.body, "the greeting is missing in the envelope")
    screen.good(f"200, an envelope with the greeting Hello, legacy; instance {answer.instance_id}")


def problem(stage: Stage, screen: Screen) -> None:
    """An unknown path: the error names the remedy"""
    screen.command(f"curl -i {_url(stage, '/invoices/')}")
    answer = stage.call("/invoices/")
    _expect(answer.status == 404, f"the status is {answer.status}, not 404")
    kind = answer.headers["Content-Type"]
    _expect(kind == "application/problem+json", f"the Content-Type is {kind}")
    _expect(answer.headers["X-Gateway-Error"] == "no-route", "X-Gateway-Error is not no-route")
    for key in ("detail", "remedy", "blame"):
        screen.show(f"{key:7} {answer.content[key]}")
    screen.good("404, a problem document; X-Gateway-Error: no-route")


def records(stage: Stage, screen: Screen) -> None:
    """The log: one line for each call, with OIC's instance id"""
    screen.command("oic-gateway serve ... | jq -c 'select(.event == \"request\")'")
    stage.log.wait("a call was refused as no-route", lambda event: event.get("error") == "no-route")
    lines = stage.log.events("request")
    for line in lines:
        screen.show(_row(line))
    ran = [line for line in lines if line["instance_id"]]
    _expect(len(lines) == 8, f"there are {len(lines)} records of 8 calls")
    _expect(
        len(ran) == 6,
        f"{len(ran)} of 8 records have an instance id, not 6 (no WSDL, no rejected call)",
    )
    screen.good(f"{len(lines)} calls, {len(lines)} lines, {len(ran)} instance ids")


def find(stage: Stage, screen: Screen) -> None:
    """Find a run: which call started it, and its result"""
    run = next(line for line in stage.log.events("request") if line["route"] == "async")
    screen.command(f"{_verb()} instances {run['instance_id']} -c {stage.config}")
    code, text = stage.run("instances", run["instance_id"])
    rows = text.strip().splitlines()
    for row in rows:
        screen.show(row)
    _expect(code == 0, f"the exit status is {code}")
    found = [row for row in rows if run["instance_id"] in row]
    _expect(len(found) == 1 and run["time"] in found[0], "another call was found")
    screen.good(f"one call: that of {run['time'][11:23]}, accepted with {run['status']}")


def status(stage: Stage, screen: Screen) -> None:
    """The state of the token"""
    _expect_run(stage.call("/orders/"), 200)  # without calls a token that lives for seconds expires
    screen.command(f"curl http://{stage.admin}/status")
    credential = stage.status()["credentials"]["sandbox"]
    _expect(credential["state"] in {"fresh", "stale"}, f"the token is {credential['state']}")
    _expect(credential["fetches"]["refused"] == 0, "a token request was refused")
    for key in ("state", "expires_in_s", "last_error", "fetches"):
        screen.show(f"{key:13} {json.dumps(credential[key])}")
    screen.good(f"{credential['fetches']['ok']} token request for the calls so far")


def renewal(stage: Stage, screen: Screen) -> None:
    """Renewal: tokens live for seconds here, and calls continue"""
    screen.command(f"while curl -sf {_url(stage, '/orders/')}; do sleep 0.1; done")
    before = len(stage.log.events("token-renewed"))
    calls = 0
    while len(stage.log.events("token-renewed")) == before:
        _expect_run(stage.call("/orders/"), 200)
        calls += 1
        time.sleep(0.1)
    _expect_run(stage.call("/orders/"), 200)
    waited = max(line["token_wait_ms"] for line in stage.log.events("request")[-calls:])
    screen.good(f"a new token, {calls + 1} calls meanwhile, none failed; the longest wait for a token was {waited} ms")


def mistake(stage: Stage, screen: Screen) -> None:
    """Check the configuration with real requests: problems are explained"""
    screen.command(_checking(stage))
    code, text = stage.run("check", "--live")
    output = text.strip().splitlines()
    failed = [number for number, line in enumerate(output) if line.startswith("FAIL")]
    for number in failed:
        for line in output[number : number + 3]:  # what was seen, what it means, what to do
            screen.show(line)
    _expect(code == _UNAVAILABLE, f"the exit status is {code}, not {_UNAVAILABLE}")
    _expect(len(failed) == 1 and "short-lived" in output[failed[0]], "the check did not find the short life of tokens")
    screen.good(f"exit status {_UNAVAILABLE}: tokens that live {TOKEN_LIFE} s are only for this tour")


def check(stage: Stage, screen: Screen) -> None:
    """Follow the remedy and check again"""
    screen.command(f"sed -i 's/{SHORT_LIFE}//' {stage.config}; {_checking(stage)}")
    stage.remove_short_life()
    code, text = stage.run("check", "--live")
    for line in text.strip().splitlines():
        screen.show(line)
    _expect(code == 0, f"the exit status is {code}")
    screen.good("exit status 0")


def console(stage: Stage, screen: Screen) -> None:
    """The console: the same in a browser, for a team"""
    screen.command(f"xdg-open http://{stage.admin}/console/")
    screen.show(f"log in as {USER} with the password {PASSWORD}")
    page = stage.overview(stage.log_in())
    _expect('href="/console/credentials/sandbox"' in page, "the overview does not show the credential")
    _expect(f'<span class="name" title="{USER}">' in page, "the login failed")
    screen.good("the overview shows the credentials with their state, and each page has its own address")


def screenshot(stage: Stage, screen: Screen) -> None:
    """A picture of the console, where a browser is present"""
    browser = find_browser()
    screen.command(f"{Path(browser).name if browser else 'chromium'} http://{stage.admin}/console/")
    if browser is None:
        screen.good("no picture: Chromium is not installed here")
        return
    try:
        picture = take_screenshot(browser, f"http://{stage.admin}/console/", stage.log_in())
    except BrowserFailed as error:
        screen.good(f"no picture: {error}")  # the browser of this machine is no part of the tour
        return
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture)
    screen.good(f"the overview is in {os.path.relpath(PICTURE)}")


def stay(stage: Stage, screen: Screen) -> None:
    """Your turn: repeat any step; press Ctrl-C to continue"""
    signal.alarm(0)
    screen.show(f"console  http://{stage.admin}/console/   name {USER}, password {PASSWORD}")
    try:
        signal.pause()
    except KeyboardInterrupt:
        signal.alarm(TOUR_LIMIT)
    screen.good("continuing")


def stop(stage: Stage, screen: Screen) -> None:
    """Stop: a call in progress is completed"""
    screen.command(f"curl -i {_url(stage, '/slow/1')} & sleep 0.5; kill -TERM GATEWAY; wait")
    answers: list[Answer | StepFailed] = []
    caller = threading.Thread(target=_collect, args=(lambda: stage.call("/slow/1"), answers), daemon=True)
    caller.start()
    _until(lambda: stage.status()["requests_under_way"] == 1, "the slow call is under way")
    stage.terminate()
    caller.join()
    answer = answers[0]
    if isinstance(answer, StepFailed):
        raise answer
    _expect_run(answer, 200)
    code = stage.exit_status()
    _expect(code == 0, f"the gateway's exit status is {code}")
    stage.log.wait("the gateway stopped drained", lambda event: event["event"] == "stopped" and event["drained"])
    screen.good(f"200, instance {answer.instance_id}; then the gateway ended, exit status 0")


STEPS: tuple[Step, ...] = (
    get,
    post,
    http10,
    asynchronous,
    soap,
    problem,
    records,
    find,
    status,
    renewal,
    mistake,
    check,
    console,
    screenshot,
)


def main() -> int:
    """Run the tour on the terminal; with `--stay` it waits before the last step."""
    pause = (stay,) if "--stay" in sys.argv[1:] else ()
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(TOUR_LIMIT)
    screen = Screen()
    screen.title("oic-gateway: plain HTTP in, OAuth 2.0 out")
    try:
        with Stage() as stage:
            screen.show(f"sandbox  {stage.sandbox}   imitates an identity domain and an OIC instance")
            screen.show(f"gateway  http://{stage.listen}   gets the tokens and calls OIC for you")
            return tour((*STEPS, *pause, stop), stage, screen)
    except StepFailed as error:
        screen.bad(f"cannot start the processes: {error}")
        return 1
    except KeyboardInterrupt:
        screen.end("Interrupted; nothing is left running.")
        return 130


def tour(steps: Iterable[Step], stage: Stage, screen: Screen) -> int:
    """Run the steps in order deadline one fails. Return 0, or 1 after naming it."""
    for number, step in enumerate(steps, 1):
        what = (step.__doc__ or step.__name__).strip()
        screen.step(number, what)
        try:
            step(stage, screen)
        except OutputError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of a step is reported with its name
            screen.bad(str(error) if isinstance(error, StepFailed) else repr(error))
            screen.end(f"Step {number} failed: {what}")
            return 1
    screen.end("Every step succeeded. `make demo ARGS=--stay` waits before the end, to repeat the steps by hand.")
    return 0


def _url(stage: Stage, target: str) -> str:
    return f"http://{stage.listen}{target}"


def _verb() -> str:
    """Return the path of `oic-gateway` beside this Python, as a person would type it."""
    return os.path.relpath(Path(sys.executable).with_name("oic-gateway"))


def _checking(stage: Stage) -> str:
    return f"OIC_SANDBOX_SECRET=$(cat demo/{SECRET.name}) {_verb()} check --live -c {stage.config}"


def _expect_run(answer: Answer, wanted: int) -> None:
    """Verify the status of a response and that it has an instance id."""
    output = answer.body[:300].decode(errors="replace")
    _expect(answer.status == wanted, f"the status is {answer.status}, not {wanted}: {output}")
    _expect(bool(answer.instance_id), "the response has no instance id")


def _expect(condition: bool, failure: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise StepFailed(failure)


def _until(condition: Callable[[], bool], meaning: str) -> None:
    deadline = time.monotonic() + TIME_LIMIT
    while not condition():
        _expect(time.monotonic() < deadline, f"timeout: not true that {meaning}")
        time.sleep(0.02)


def _collect(call: Callable[[], Answer], answers: list[Answer | StepFailed]) -> None:
    try:
        answers.append(call())
    except StepFailed as error:
        answers.append(error)


def _row(line: Event) -> str:
    took = f"{line['duration_ms']:.0f} ms"
    end = line["instance_id"] or line["error"] or ""
    return f"{line['time'][11:23]} {line['method']:4} {line['path']:14.14} {line['status']} {took:>6}  {end}"


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def _too_long(*_: Any) -> None:
    raise StepFailed(f"the tour takes longer than {TOUR_LIMIT} s")


if __name__ == "__main__":
    sys.exit(run_with_output(main))
