"""OCI Vault on a real socket: its Secret Retrieval API (version 20190301), limited to reading one secret.

It checks the signature of each request as OCI does, and returns what a test has stored.
"""

import base64
import binascii
import json
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.fakes.keys import pair
from tests.fakes.waiting import TIME_LIMIT

TENANCY = "ocid1.tenancy.oc1..tests"
USER = "ocid1.user.oc1..tests"
FINGERPRINT = ":".join(["0f"] * 16)
_PATH = "/20190301/secretbundles/"


def ocid(name: str, region: str = "phx") -> str:
    """Return the OCID of a secret."""
    return f"ocid1.vaultsecret.oc1.{region}.{name.ljust(60, 'a')}"


@dataclass
class StoredSecret:
    """A secret, as base64, and the number of its current version."""

    content: str
    version: int = 1


@dataclass
class FakeOciVault:
    """Answers within `with`. `error` (status, code) is the response to every request; `secrets` are by OCID. While
    `pause` is cleared, requests wait, and set `paused`. While `trickles` is set, requests get a response without an
    end, one byte at a time, and set `paused`, too.
    """

    secrets: dict[str, StoredSecret] = field(default_factory=dict)
    error: tuple[int, str] | None = None
    requested: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    pause: threading.Event = field(default_factory=threading.Event)
    paused: threading.Event = field(default_factory=threading.Event)
    trickles: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.pause.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause.set()
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def store_secret(self, name: str, secret: str | bytes) -> str:
        """Store a new version of a secret; return its OCID."""
        raw = secret if isinstance(secret, bytes) else secret.encode()
        before = self.secrets.get(ocid(name), StoredSecret("", 0))
        self.secrets[ocid(name)] = StoredSecret(base64.b64encode(raw).decode(), before.version + 1)
        return ocid(name)

    def answer(self, path: str, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Return status and document."""
        name = path.removeprefix(_PATH)
        self.requested.append(name)
        if not self.pause.is_set():
            self.paused.set()
            self.pause.wait(TIME_LIMIT)
        if not self._is_signed(path, fields):
            return _error(401, "NotAuthenticated")
        if self.error is not None:
            return _error(*self.error)
        if not path.startswith(_PATH) or name not in self.secrets:
            return _error(404, "NotAuthorizedOrNotFound")
        entry = self.secrets[name]
        content = {"contentType": "BASE64", "content": entry.content}
        return 200, {
            "secretId": name,
            "timeCreated": "2026-01-02T03:04:05.678Z",
            "versionNumber": entry.version,
            "versionName": None,
            "secretBundleContent": content,
            "timeOfDeletion": None,
            "timeOfExpiry": None,
            "stages": ["CURRENT", "LATEST"],
            "metadata": None,
        }

    def _is_signed(self, path: str, fields: dict[str, str]) -> bool:
        """Check the signature (draft-cavage-http-signatures-08) with the one known key."""
        parts = dict(re.findall(r'(\w+)="([^"]*)"', fields.get("authorization", "")))
        signed_fields = {**fields, "(request-target)": f"get {path}"}
        signed = "\n".join(f"{name}: {signed_fields.get(name, '')}" for name in parts.get("headers", "").split(" "))
        self.keys.append(parts.get("keyId", ""))
        key = pair(name="oci").private.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        try:
            signature = base64.b64decode(parts.get("signature", ""), validate=True)
            key.verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, binascii.Error):
            return False
        return {"date", "(request-target)", "host"} <= set(parts["headers"].split(" "))


def profile(folder: Path, name: str = "DEFAULT") -> dict[str, str]:
    """Write a configuration file of OCI with this profile; return the environment that names it."""
    key = folder / "oci-key.pem"
    key.write_text(pair(name="oci").key, encoding="ascii")
    key.chmod(0o600)
    rows = {
        "user": USER,
        "tenancy": TENANCY,
        "fingerprint": FINGERPRINT,
        "region": "us-ashburn-1",
        "key_file": str(key),
    }
    file = folder / "oci-config"
    text = "".join(f"{key}={value}\n" for key, value in rows.items())
    file.write_text(f"[{name}]\n{text}", encoding="utf-8")
    file.chmod(0o600)
    return {"OCI_CONFIG_FILE": str(file), "HOME": str(folder)}


def _error(status: int, code: str) -> tuple[int, dict[str, Any]]:
    return status, {"code": code, "message": "hunter2 must not be quoted"}


def _handler(vault: FakeOciVault) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if vault.trickles:
                self._trickle()
                return
            status, document = vault.answer(self.path, {name.lower(): value for name, value in self.headers.items()})
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def _trickle(self) -> None:
            vault.requested.append(self.path.removeprefix(_PATH))
            vault.paused.set()
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Trickle: ")
            with suppress(OSError):
                while not vault.stopped.wait(0.1):
                    self.wfile.write(b"x")

        def log_message(self, *_: object) -> None:
            """Write no log."""

    return Handler
