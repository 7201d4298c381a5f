"""The open files of a process are shared between callers, upstreams, and browsers of the console."""

import resource
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.admin_server import MAX_CONNECTIONS, MAX_CONSOLE_CONNECTIONS
from gateway.config.load import load
from gateway.config.model import Config
from gateway.server.lifecycle import capacity_of
from tests.system.scene import SECRETS, simple, written


def config(folder: Path, **more: Any) -> Config:
    file = written(folder, simple("http://127.0.0.1:1/token", "http://127.0.0.1:1/", **more))
    return load(file, environ=SECRETS).config


def test_browsers_of_the_console_have_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    plain, console = capacity_of(config(tmp_path)), capacity_of(config(tmp_path, console={}))
    workers = capacity_of(config(tmp_path, console={}, workers=2))
    assert plain == workers
    shared = [sum(capacity[1:]) for capacity in (plain, console)]
    assert shared[0] - shared[1] == MAX_CONSOLE_CONNECTIONS - MAX_CONNECTIONS
    assert console.files == 1024
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    assert min(capacity_of(config(tmp_path, console={}))) > 0
