"""The processes of the tour: sandbox and gateway on free ports of loopback, and calls to them."""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import urlencode

HERE = Path(__file__).parent
CONFIG = HERE.parent / "config" / "demo.yaml"
SECRET = HERE / "sandbox-secret"
TOKEN_LIFE = 6
"""Seconds that tokens live in the tour: short, to show a renewal."""
SHORT_LIFE = f" urn:opc:resource:expiry={TOKEN_LIFE}"
"""The part of the scope that requests it."""

TIME_LIMIT = 60
"""Seconds after which a wait counts as hung; no measure of speed, because a busy machine may take long."""
TOUR_LIMIT = 10 * TIME_LIMIT
"""The same for the whole tour."""

_SANDBOX, _DESIGN = "http://127.0.0.1:8181", "http://localhost:8181"
_LISTEN, _ADMIN = "listen: 127.0.0.1:8080", "admin: 127.0.0.1:9090"
_SCOPE = "urn:opc:resource:consumer::all"
USER, PASSWORD = "demo", "demo-only-password"
"""The login of the console in the tour."""
_CONSOLE = "console: {users: users}"
_SLOW = """\
  - name: slow
    path: /slow/
    upstream: {sandbox}/ic/api/integration/v1/flows/rest/SLOW/1.0/
"""

Event = dict[str, Any]


class StepFailed(Exception):
    """A step of the tour had another result than expected."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The response that a caller received."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def instance_id(self) -> str:
        """Return OIC's id of the run; empty without one."""
        return self.headers.get("x-oracle-ics-instance-id", "")

    @property
    def content(self) -> Any:
        """Return the body, parsed as JSON."""
        return json.loads(self.body)


class Stage:
    """Sandbox and gateway, running within `with`; both always end with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.listen = self.admin = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oic-gateway-demo-")))
            self.config = folder / "gateway.yaml"
            self._environ = _environ()
            process = self._start(stack, "sandbox", "--listen", "127.0.0.1:0")
            stack.callback(_end, process)
            self.sandbox = _origin(process)
            self._configure("127.0.0.1:0", "127.0.0.1:0")
            self._add_user()
            self._gateway = self._start(stack, "serve", "--config", str(self.config))
            self.log = Log(_pipe(self._gateway))
            stack.callback(self.log.close)
            stack.callback(_end, self._gateway)
            started = self.log.wait("the gateway starts", lambda event: event["event"] == "started")
            self.listen, self.admin = started["listen"], started["admin"]
            self._configure(self.listen, self.admin)  # other verbs find the admin port in the file
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def call(
        self, target: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None, is_1_0: bool = False
    ) -> Answer:
        """Call the gateway as a system without OAuth does: GET, or POST with a body."""
        connection = (_Http10 if is_1_0 else http.client.HTTPConnection)(self.listen, timeout=TIME_LIMIT)
        try:
            connection.request("POST" if body is not None else "GET", target, body, dict(headers or {}))
            reply = connection.getresponse()
            return Answer(reply.status, reply.headers, reply.read())
        except (OSError, http.client.HTTPException) as cause:
            raise StepFailed(f"{target} got no response: {cause!r}") from cause
        finally:
            connection.close()

    def status(self) -> Any:
        """Return `/status` of the admin port."""
        connection = http.client.HTTPConnection(self.admin, timeout=TIME_LIMIT)
        try:
            connection.request("GET", "/status")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def log_in(self) -> str:
        """Log in at the console as a browser does. Return the cookie of the session."""
        connection = http.client.HTTPConnection(self.admin, timeout=TIME_LIMIT)
        try:
            connection.request("GET", "/console/login")
            response = connection.getresponse()
            token = response.read().decode().partition('name="csrf_token" value="')[2].partition('"')[0]
            form = urlencode({"name": USER, "password": PASSWORD, "csrf_token": token})
            fields = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.admin}"}
            connection.request("POST", "/console/login", form, {**fields, "Cookie": _cookies(response)})
            response = connection.getresponse()
            response.read()
            return _cookies(response)
        except (OSError, http.client.HTTPException) as cause:
            raise StepFailed(f"the console does not respond: {cause!r}") from cause
        finally:
            connection.close()

    def overview(self, cookie: str) -> str:
        """Return the first page of the console."""
        connection = http.client.HTTPConnection(self.admin, timeout=TIME_LIMIT)
        try:
            connection.request("GET", "/console/", headers={"Cookie": cookie})
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as cause:
            raise StepFailed(f"the console does not respond: {cause!r}") from cause
        finally:
            connection.close()

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """Run another verb with the gateway's configuration. Return its exit status and output."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments, "--config", str(self.config)],
            env=self._environ,
            cwd=HERE.parent,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def remove_short_life(self) -> None:
        """Remove the short token life from the file; the running gateway does not reload it."""
        text = self.config.read_text(encoding="utf-8")
        self.config.write_text(text.replace(SHORT_LIFE, ""), encoding="utf-8")

    def terminate(self) -> None:
        """Send SIGTERM to the gateway, as an init system does."""
        self._gateway.terminate()

    def exit_status(self) -> int:
        """Wait until the gateway has ended. Return its exit status."""
        return self._gateway.wait()

    def _add_user(self) -> None:
        code, text = self.run("user", "add", USER, "--role", "admin", stdin=f"{PASSWORD}\n")
        if code != 0:
            raise StepFailed(f"the user of the console cannot be added: {text}")

    def _configure(self, listen: str, admin: str) -> None:
        """Write config/demo.yaml with these addresses, short-lived tokens, and a slow route for the stop."""
        text = f"{CONFIG.read_text(encoding='utf-8').rstrip()}\n{_SLOW.format(sandbox=_SANDBOX)}{_CONSOLE}\n"
        text = text.replace(_LISTEN, f"listen: {listen}").replace(_ADMIN, f"admin: {admin}")
        text = text.replace(_SCOPE, _SCOPE + SHORT_LIFE)
        text = text.replace(_SANDBOX, self.sandbox).replace(_DESIGN, self.sandbox.replace("127.0.0.1", "localhost"))
        self.config.write_text(text, encoding="utf-8")

    def _start(self, stack: ExitStack, *arguments: str) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C reaches the tour alone, which stops both in order.
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            env=self._environ,
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        return stack.enter_context(process)


class _Http10(http.client.HTTPConnection):
    """A client for HTTP/1.0: no persistent connection, no chunks, no Host."""

    _http_vsn = 10
    _http_vsn_str = "HTTP/1.0"


class Log:
    """The standard output of the gateway: one JSON event a line."""

    def __init__(self, pipe: IO[str]) -> None:
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._is_open = True
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def events(self, name: str) -> list[Event]:
        """Return the events of that name so far."""
        with self._changed:
            return [event for event in self._events if event["event"] == name]

    def wait(self, meaning: str, wanted: Callable[[Event], bool]) -> Event:
        """Wait for an event that matches and return it. Raise StepFailed with its meaning if none comes."""

        def found() -> Event | None:
            return next((event for event in self._events if wanted(event)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or not self._is_open, TIME_LIMIT)
            event = found()
        if event is None:
            raise StepFailed(f"the log does not show that {meaning}")
        return event

    def close(self) -> None:
        """Read the rest after the process has ended."""
        self._reader.join(timeout=TIME_LIMIT)

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            with self._changed:
                self._events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._is_open = False
            self._changed.notify_all()


def _environ() -> dict[str, str]:
    """Return the environment of both processes: ours without settings of another gateway, plus the sandbox's secret."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OIC_GATEWAY_")}
    return {**environ, "OIC_SANDBOX_SECRET": SECRET.read_text(encoding="utf-8").strip()}


def _cookies(response: http.client.HTTPResponse) -> str:
    """Return the cookies that a response sets and does not delete, as the next request sends them back."""
    cookies = [line.partition(";")[0] for line in response.headers.get_all("Set-Cookie", [])]
    return "; ".join(cookie for cookie in cookies if not cookie.endswith("="))


def _origin(process: subprocess.Popen[str]) -> str:
    """Return the origin, which ends the first line that the sandbox prints."""
    line = _pipe(process).readline()
    if "http://" not in line:
        raise StepFailed("the sandbox did not start; see its output above")
    return line.split()[-1]


def _pipe(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None  # opened as a pipe
    return process.stdout


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
