"""testssl.sh scans a TLS listener: protocols, ciphers, forward secrecy, HTTP fields, known vulnerabilities.

Run by `make test-clients`, which installs it from Debian; no part of the usual tests.
"""

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from pathlib import Path

from gateway.sandbox import Sandbox
from tests.fakes.certificates import server_pem
from tests.system.scene import before

CHECKS = ("--protocols", "--std", "--pfs", "--server-preference", "--header", "--vulnerable")
SCAN_LIMIT = 900.0
"""Seconds; a scan makes hundreds of handshakes."""
HARMLESS = {"OK", "INFO"}
ACCEPTED = {
    "HSTS",  # the gateway forwards OIC's field and sends none of its own: its callers are no browsers
    "LUCKY13",  # CBC ciphers, which Windows before 2016 needs; OpenSSL has the countermeasure
    "cipherlist_AVERAGE",  # the same ciphers
    "RC4",  # Debian's openssl cannot offer it
    "engine_problem",  # likewise
}
OFFERED = {"TLS1_2", "TLS1_3"}
OLD = {"SSLv2", "SSLv3", "TLS1", "TLS1_1"}


async def test_a_scan_of_a_tls_listener_finds_no_weakness(tmp_path: Path) -> None:
    server = server_pem(tmp_path)
    report = tmp_path / "report.json"
    listen = [{"address": "127.0.0.1:0", "tls": {"cert": str(server)}}]
    async with Sandbox() as sandbox, before(tmp_path, sandbox, listen=listen) as gate:
        command = ("testssl", "--quiet", "--color", "0", "--warnings", "batch", "--fast", "--jsonfile", report)
        process = await asyncio.create_subprocess_exec(
            *(*command, *CHECKS, "--add-ca", server, gate.listen), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
        )
        async with asyncio.timeout(SCAN_LIMIT):
            out, _ = await process.communicate()
    assert report.exists(), out.decode(errors="replace")
    findings = {each["id"]: each for each in json.loads(report.read_text(encoding="utf-8"))}
    assert {name for name in OFFERED | OLD if findings[name]["finding"].startswith("offered")} == OFFERED
    assert findings["RC4"]["severity"] != "HIGH"
    weak = {name: each["finding"] for name, each in findings.items() if each["severity"] not in HARMLESS}
    assert weak.keys() <= ACCEPTED, weak
