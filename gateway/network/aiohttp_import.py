"""aiohttp without the certificates that it reads when it is imported."""

import os
from ssl import get_default_verify_paths


def import_aiohttp() -> None:
    """Import aiohttp before any other module does, in the only thread.

    It makes two TLS contexts for sessions that have none. Each reads all CA certificates of the system, a tenth of the
    start and a MiB in all. Every session of the gateway has a connector of its own, so theirs may stay empty: a
    connection that used one would fail.
    """
    variable = get_default_verify_paths().openssl_cafile_env
    before = os.environ.get(variable)
    os.environ[variable] = os.devnull
    try:
        import aiohttp  # noqa: F401, PLC0415 - its import is the purpose
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
