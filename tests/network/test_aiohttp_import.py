"""aiohttp is imported without reading the certificates of the system, which no session of the gateway uses."""

import os
import subprocess
import sys

import pytest

from tests.fakes.process import ROOT

SCRIPT = """
import os
before = dict(os.environ)
from gateway.network.aiohttp_import import import_aiohttp
import_aiohttp()
from aiohttp import connector
assert dict(os.environ) == before
contexts = (connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED)
print([context.cert_store_stats()["x509_ca"] for context in contexts], contexts[0].verify_mode.name)
"""


@pytest.mark.parametrize("environ", [{}, {"SSL_CERT_FILE": "/somewhere"}])
def test_aiohttp_reads_no_certificates_when_imported(environ: dict[str, str]) -> None:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=True)
    assert done.stdout == "[0, 0] CERT_REQUIRED\n"
