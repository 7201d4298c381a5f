"""Import aiohttp without the CA certificates that it loads when it is imported."""

import os
from ssl import get_default_verify_paths


def import_aiohttp() -> None:
    """Import aiohttp. Call this before another module imports it, while the process has one thread.

    aiohttp creates two default TLS contexts at its import. Each loads all CA certificates of the system: together that
    is a tenth of the start time, and one MiB. Every session of the gateway has its own connector and never uses these
    contexts, so they stay empty. A connection that used one would fail.
    """
    variable = get_default_verify_paths().openssl_cafile_env
    original = os.environ.get(variable)
    os.environ[variable] = os.devnull
    try:
        import aiohttp  # noqa: F401, PLC0415 - its import is the purpose
    finally:
        if original is None:
            del os.environ[variable]
        else:
            os.environ[variable] = original
