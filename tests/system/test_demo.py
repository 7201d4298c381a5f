"""The tour: it succeeds, names a failed step, and leaves no process behind."""

import io
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.browser import find_browser
from demo.screen import Screen
from demo.stage import SECRET, TOUR_LIMIT, Stage, StepFailed
from demo.tour import PICTURE, STEPS, check, get, screenshot, soap, tour
from gateway.sandbox import DEFAULT_SECRET
from tests.fakes.terminal import restore_interrupt
from tests.fakes.waiting import TIME_LIMIT

ROOT = Path(__file__).parents[2]
MARK = "OIC_DEMO_MARK"


@contextmanager
def touring(encoding: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The tour as a process, and a mark that all its children carry in their environment."""
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-m", "demo.tour"],
        cwd=ROOT,
        env={**os.environ, MARK: mark, "OIC_GATEWAY_CONFIG": "/nowhere", "PYTHONIOENCODING": encoding},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding=encoding,
        start_new_session=True,
        preexec_fn=restore_interrupt,  # noqa: PLW1509 - no other thread runs here
    ) as process:
        try:
            yield process, mark
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The processes for tests that leave them running."""
    with Stage() as stage:
        yield stage


def remaining_processes(mark: str) -> list[str]:
    """The command lines of processes that carry the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_the_tour_succeeds_and_leaves_no_process() -> None:
    PICTURE.unlink(missing_ok=True)
    with touring("ascii") as (process, mark):  # the encoding that needs most care; UTF-8 is the next test's
        text, _ = process.communicate(timeout=TOUR_LIMIT)
    assert process.returncode == 0, text
    headings = [step.__doc__.strip() for step in STEPS if step.__doc__]
    assert [line for line in headings if line not in text] == []
    assert text.count("   $ ") == len(STEPS) + 2  # each step and the stop can be repeated by hand; SOAP takes two calls
    assert len(set(re.findall(r"instance ([\w-]{22})", text))) >= 6
    assert_whole(text)
    assert "\x1b" not in text  # no terminal, no colours
    assert remaining_processes(mark) == []


def assert_whole(text: str) -> None:
    """What the newer steps are there to show is shown."""
    gateway = re.findall(r"gateway  (http://\S+)", text)[0]
    assert f"soap:address is {gateway}/hello/," in text
    assert re.search(rf"\$ curl .* {gateway}/hello/$", text, re.MULTILINE)
    accepted = re.findall(r"202, no body, instance (\S+)", text)[0]
    assert re.search(rf"oic-gateway instances {accepted} -c ", text)
    assert re.search(rf"202 +POST +async +/async/ +{accepted} ", text)
    seen, meaning, remedy = re.findall(r"FAIL .*\n +-> .*\n +-> .*", text)[0].splitlines()
    assert "short-lived" in seen
    assert "urn:opc:resource:expiry" in meaning
    assert "Increase" in remedy
    assert text.count("FAIL") == 1  # none after the remedy
    if find_browser() is None:
        assert "no picture: Chromium is not installed here" in text
    else:
        assert f"the overview is in {PICTURE.relative_to(ROOT)}" in text
        assert PICTURE.read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize(("script", "reason"), [("", "is not installed"), ("#!/bin/sh\nexit 1\n", "the browser ended")])
def test_the_tour_goes_on_without_a_picture(
    stage: Stage, script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    if script:
        (tmp_path / "chromium").write_text(script)
        (tmp_path / "chromium").chmod(0o755)
    out = io.StringIO()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tour((screenshot,), stage, Screen(out)) == 0
    assert "no picture: " in out.getvalue()
    assert reason in out.getvalue()


def test_an_address_of_oic_in_the_wsdl_fails_the_step(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    # As if the gateway's own port were the sandbox's: then the WSDL is full of it.
    monkeypatch.setattr(stage, "sandbox", stage.sandbox.rpartition(":")[0] + stage.listen[stage.listen.rindex(":") :])
    assert tour((soap,), stage, Screen(out)) == 1
    assert "a part of an address of OIC" in out.getvalue()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_tour_stops_both_processes(number: signal.Signals, status: int) -> None:
    with touring("utf-8") as (process, mark):
        assert process.stdout is not None
        text = ""
        while "Renewal" not in text:
            text += process.stdout.readline()
            assert process.poll() is None, text
        assert len(remaining_processes(mark)) == 3  # the tour, the sandbox, the gateway
        process.send_signal(number)
        text += process.stdout.read()
        assert process.wait(timeout=TIME_LIMIT) == status, text
    assert "Traceback" not in text
    assert "   ✓ " in text
    assert remaining_processes(mark) == []


def test_a_failed_step_is_named(stage: Stage) -> None:
    def wrong(_stage: Stage, _screen: Screen) -> None:
        """A step that sees something else"""
        raise StepFailed("the status is 500, not 200")

    def stumbling(_stage: Stage, _screen: Screen) -> None:
        """A step that stumbles"""
        raise KeyError("Location")

    for step in (wrong, stumbling):
        out = io.StringIO()
        assert tour((get, step, check), stage, Screen(out)) == 1
        assert f"Step 2 failed: {step.__doc__}" in out.getvalue()
        assert str(check.__doc__) not in out.getvalue()


def test_a_stopped_gateway_fails_the_step() -> None:
    out = io.StringIO()
    with Stage() as stage:
        stage.terminate()
        assert stage.exit_status() == 0
        assert tour((get,), stage, Screen(out)) == 1
    assert "/orders/ got no response" in out.getvalue()


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    colourful, plain = Terminal(), Terminal()
    Screen(colourful).good("it is")
    monkeypatch.setenv("NO_COLOR", "1")
    Screen(plain).good("it is")
    assert colourful.getvalue() == "   \x1b[32mok\x1b[0m it is\n"
    assert plain.getvalue() == "   ok it is\n"


def test_the_demo_secret_is_that_of_the_sandbox() -> None:
    assert SECRET.read_text().strip() == DEFAULT_SECRET
