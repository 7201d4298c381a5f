"""aiohttp is imported without reading the certificates of the system, which no session of the gateway uses."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.certificates import self_signed
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


VERB = """
import sys
from gateway.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
assert "aiohttp" in sys.modules
from aiohttp import connector
print("loaded", connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509_ca"])
"""
CONFIG = """
state: {path: state.db, keys: [{env: STATE_KEY}]}
credentials:
  app: {token_url: "http://127.0.0.1:1/token", client_id: x, client_secret: {file: secret}, scope: s, insecure: true}
  person: {token_url: "http://127.0.0.1:1/token", client_id: x, client_secret: {file: secret}, scope: s, insecure: true,
           grant: authorization_code}
routes:
  - {name: a, path: /a/, upstream: "http://127.0.0.1:1/", credential: app, insecure: true}
  - {name: b, path: /b/, upstream: "http://127.0.0.1:1/", credential: person, insecure: true}
"""


@pytest.mark.parametrize("words", ["token app", "check --live", "login person --paste", "logout person", "rotate app"])
def test_each_command_imports_it_without_certificates(tmp_path: Path, words: str) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    environ = {"STATE_KEY": base64.urlsafe_b64encode(bytes(range(32))).decode()}
    environ |= {"SSL_CERT_FILE": str(self_signed(tmp_path / "ca.pem", is_ca=True)), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", VERB, *words.split(), str(tmp_path / "gateway.yaml")]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | environ, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert done.stdout.endswith(b"loaded 0\n"), done
