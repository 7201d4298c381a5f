"""What the proxy's tests share: both event loops, and a certificate made on the spot."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from tests.fakes.certificates import self_signed


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test that needs a loop runs on production's and on Python's own."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of 127.0.0.1 in one PEM file."""
    return self_signed(tmp_path_factory.mktemp("tls") / "upstream.pem", is_ca=True)
