"""The tests of the wire run on both event loops, as those of the proxy do."""

from tests.proxy.conftest import certificate, pytest_asyncio_loop_factories

__all__ = ["certificate", "pytest_asyncio_loop_factories"]
