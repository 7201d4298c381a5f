"""A picture of a page in Chromium, if this machine has it: by the DevTools protocol, through pipes, in a profile that
is deleted afterwards.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = (
    *("--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-breakpad", "--disable-gpu"),
    *("--disable-dev-shm-usage", "--no-proxy-server"),
)
# The protocol uses the descriptors 3 and 4; what the browser prints is dropped.
_LAUNCH = ("sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1', "sh")
_SIZE = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
_TIME_LIMIT = 60.0
_ENDED = "the browser ended, or did not answer in time"

Message = dict[str, Any]


class BrowserFailed(Exception):
    """The browser did not make the picture."""


def find_browser() -> str | None:
    """Return the path of Chromium or Chrome, None if there is none on PATH."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def take_screenshot(browser: str, url: str, cookie: str) -> bytes:
    """Return the page at `url` as PNG, requested with a cookie (`name=value`). Raise BrowserFailed."""
    with tempfile.TemporaryDirectory(prefix="oic-gateway-browser-", ignore_cleanup_errors=True) as profile:
        try:
            with _running(browser, profile) as process:
                devtools = _DevTools(process)
                return _capture(devtools, url, *cookie.split("=", maxsplit=1))
        except (OSError, ValueError, KeyError) as cause:
            raise BrowserFailed(f"{browser} failed: {cause!r}") from cause


def _capture(devtools: "_DevTools", url: str, name: str, value: str) -> bytes:
    target = devtools.call("Target.createTarget", url="about:blank")["targetId"]
    devtools.session = devtools.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    devtools.call("Network.setCookie", name=name, value=value, url=url)
    devtools.call("Emulation.setDeviceMetricsOverride", **_SIZE)
    devtools.call("Page.enable")
    problem = devtools.call("Page.navigate", url=url).get("errorText")
    if problem:
        raise BrowserFailed(f"the browser cannot load {url}: {problem}")
    devtools.wait("Page.loadEventFired")
    return b64decode(devtools.call("Page.captureScreenshot", format="png")["data"])


class _DevTools:
    """The DevTools protocol: JSON messages that end with a zero byte. `session` is the page that calls are for."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.session: str | None = None
        self._process = process
        self._number = 0
        self._rest = b""
        self._events: set[str] = set()

    def call(self, method: str, **parameters: object) -> Message:
        """Call a method. Return its result."""
        self._number += 1
        message: Message = {"id": self._number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        assert self._process.stdin is not None  # opened as a pipe
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\0")
            self._process.stdin.flush()
        except BrokenPipeError as cause:
            raise BrowserFailed(_ENDED) from cause
        while (answer := self._read()).get("id") != self._number:
            self._events.add(answer.get("method", ""))
        if "error" in answer:
            raise BrowserFailed(f"the browser rejects {method}: {answer['error'].get('message')}")
        result: Message = answer["result"]
        return result

    def wait(self, event: str) -> None:
        """Wait for an event, unless it has happened."""
        while event not in self._events:
            self._events.add(self._read().get("method", ""))

    def _read(self) -> Message:
        assert self._process.stdout is not None  # opened as a pipe
        while b"\0" not in self._rest:
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                raise BrowserFailed(_ENDED)
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        message: Message = json.loads(text)
        return message


@contextmanager
def _running(browser: str, profile: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a browser in a session of its own, whose processes all end with the block or after `_TIME_LIMIT`."""
    options = [*_OPTIONS, f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # for root, Chromium does not start with its sandbox
    process = subprocess.Popen(
        [*_LAUNCH, browser, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "HOME": profile},
    )
    timer = threading.Timer(_TIME_LIMIT, _end, (process,))
    timer.daemon = True
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        _end(process)
        with suppress(OSError):  # a message may wait that the browser did not read
            process.stdin.close()  # type: ignore[union-attr]  # opened as a pipe
        process.stdout.close()  # type: ignore[union-attr]  # opened as a pipe


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End all processes of the browser's session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
