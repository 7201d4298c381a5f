"""The tests of HTTP run on both event loops, like those of the proxy."""

from tests.proxy.conftest import certificate, pytest_asyncio_loop_factories

__all__ = ["certificate", "pytest_asyncio_loop_factories"]
