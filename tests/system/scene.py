"""What the system tests share: a configuration in front of a sandbox, and certificates made on the spot."""

import datetime as dt
import json
import ssl
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.sandbox import DEFAULT_ID, DEFAULT_SECRET, Sandbox
from tests.fakes.identity import Identity
from tests.fakes.process import Process, gateway
from tests.fakes.upstream import Upstream

Settings = dict[str, Any]

SECRETS = {"APP_SECRET": DEFAULT_SECRET}
"""The environment that every configuration here needs."""
FLOWS = ("ORDERS", "ECHO", "ASYNC", "BYTES", "UPLOAD", "SLOW", "STATUS", "DROP")


def credential(token_url: str, **more: Any) -> Settings:
    return {"token_url": token_url, "client_id": DEFAULT_ID, "client_secret": {"env": "APP_SECRET"}, **more}


def route(name: str, upstream: str, **more: Any) -> Settings:
    return {"name": name, "path": f"/{name}/", "upstream": upstream, "credential": "app", **more}


def settings(sandbox: Sandbox, **more: Any) -> Settings:
    """All flows of a sandbox, each under its name; `more` are further keys of the file."""
    routes = [route(code.lower(), sandbox.upstream(code)) for code in FLOWS]
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "credentials": {"app": credential(sandbox.token_url, scope=sandbox.scope)},
        "routes": [*routes, route("hello", sandbox.soap_upstream())],
        **more,
    }


def simple(token_url: str, upstream: str, **more: Any) -> Settings:
    """One route `orders`."""
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "credentials": {"app": credential(token_url)},
        "routes": [route("orders", upstream)],
        **more,
    }


def before(folder: Path, sandbox: Sandbox, **more: Any) -> AbstractAsyncContextManager[Process]:
    """The gateway in front of a sandbox."""
    return gateway(written(folder, settings(sandbox, **more)), **SECRETS)


def between(folder: Path, identity: Identity, upstream: Upstream, **more: Any) -> AbstractAsyncContextManager[Process]:
    """The gateway between scripted peers, with one route `orders`."""
    return gateway(written(folder, simple(identity.url, upstream.url, **more)), **SECRETS)


def written(folder: Path, document: Settings, name: str = "gateway.yaml") -> Path:
    """The document as a file; JSON is YAML."""
    file = folder / name
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return file


def certificate(folder: Path, *further: str) -> Path:
    """A PEM file with the key and the self-signed certificate of 127.0.0.1, localhost and further names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.IPAddress(ip_address("127.0.0.1")), *map(x509.DNSName, ("localhost", *further))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return file


def tls_server(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
