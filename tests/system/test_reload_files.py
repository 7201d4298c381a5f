"""A reload opens its files in threads: the loop, which serves the callers, opens none."""

import base64
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import DEFAULT_SECRET, Sandbox
from tests.fakes.certificates import server_pem
from tests.fakes.process import gateway
from tests.system.scene import SECRETS, route, settings, written

# The interpreter runs this at its start. OpenSSL opens files without an audit event: its calls are recorded instead.
RECORDER = """
import os, ssl, sys, threading
log = os.open(os.environ["OPENED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
EVENTS = {"open", "os.listdir", "os.scandir", "sqlite3.connect"}
KERNEL = ("/proc/", "/dev/")  # looked at now and then, for metrics; no disk is behind them
CALLS = ("load_verify_locations", "set_default_verify_paths", "load_cert_chain")

def record(name, what):
    if threading.get_ident() == threading.main_thread().ident:
        os.write(log, f"{name} {what}\\n".encode())

def on_event(event, arguments):
    if event in EVENTS and not str(arguments[0]).startswith(KERNEL):
        record(event, arguments[0])

def recorded(name, call):
    def record_and_call(*arguments, **named):
        record(name, sys._getframe(1).f_code.co_filename)
        return call(*arguments, **named)
    return record_and_call

sys.addaudithook(on_event)
for name in CALLS:  # a profile function would see them, too, but slows the start of a worker beyond its time limit
    setattr(ssl.SSLContext, name, recorded(name, getattr(ssl.SSLContext, name)))
"""


def enriched(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    """A configuration that also names a file of every kind: secret, key, authorities, certificate."""
    (folder / "key").write_text(base64.b64encode(bytes(32)).decode(), encoding="utf-8")
    (folder / "secret").write_text(DEFAULT_SECRET, encoding="utf-8")
    pem = str(server_pem(folder))
    secret = {"file": str(folder / "secret")}
    proxy = {"url": "https://proxy.example:3129", "username": "gw", "password": secret, "tls": {"ca": pem}}
    far = {"credential": "far", "proxy": proxy, "tls": {"ca": pem}}
    identity = {"token_url": "https://idcs.example/oauth2/v1/token", "proxy": proxy, "tls": {"ca": pem, "cert": pem}}
    app = document["credentials"]["app"]
    return {
        **document,
        "state": {"path": str(folder / "state"), "keys": [{"file": str(folder / "key")}]},
        "credentials": {
            "app": app | {"client_secret": secret},
            "far": app | {"client_secret": secret, "prefetch": False} | identity,
        },
        "routes": [
            *document["routes"],
            route("far", "https://oic.example/ic/api/integration/v1/flows/rest/FAR/1.0", **far),
        ],
    }


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_opens_no_file_on_the_loop(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    opened = tmp_path / "opened"
    document = settings(sandbox, workers=workers)
    document["routes"].append(route("near", "https://oic.example/ic/api/integration/v1/flows/rest/NEAR/1.0"))
    file = written(tmp_path, document)
    recorder = {"PYTHONPATH": str(tmp_path / "site"), "OPENED": str(opened)}
    async with gateway(file, **SECRETS, **recorder) as gate:
        assert (await gate.get("/orders/"))[0] == 200
        before = opened.read_text(encoding="utf-8")
        assert "set_default_verify_paths" in before  # the recorder works: at the start the loop serves nobody yet
        written(tmp_path, enriched(tmp_path, document))
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        assert opened.read_text(encoding="utf-8").removeprefix(before).splitlines() == []
        assert (await gate.get("/orders/"))[0] == 200
