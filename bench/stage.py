"""The environment of a measurement: a folder, the upstream, and processes that start on a CPU and always end.

The templates of bench/ have capital words for ports and the token; `Stage.fill` inserts the values of this run.
"""

import os
import re
import resource
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.files import make_files
from bench.workloads import API_KEY, ENVELOPE_ANSWER, PASSWORD, USER

HERE = Path(__file__).parent
PROXY_CPU, LOAD_CPU = 0, 1
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJiZW5jaCJ9."
SECRET = "s3cret"
NGINX = ("nginx", "-e", "stderr", "-p", "FOLDER", "-c", "FILE")
FILES = 65536

Process = subprocess.Popen[bytes]


class BenchFailed(Exception):
    """A condition for a meaningful figure is not met."""


class Stage:
    """The folder of a run, with certificate, files and the upstream; `opened` makes one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.words: dict[str, str | int] = {
            "TOKEN": TOKEN,
            "ENVELOPE_ANSWER": ENVELOPE_ANSWER,
            "API_KEY": API_KEY,
            "USER_HASH": f"{USER}:{{SHA}}{b64encode(sha1(PASSWORD.encode()).digest()).decode()}",
            "UPSTREAM": free_port(),
            "TLS_UPSTREAM": free_port(),
        }

    def fill(self, template: str, **words: str | int) -> Path:
        """Write a completed template of bench/. Return the new file."""
        return self.write(template, (HERE / template).read_text(), **words)

    def write(self, name: str, text: str, **words: str | int) -> Path:
        """Write a completed text. Return the new file."""
        file = self.folder / name
        file.write_text(filled(text, self.words | words))
        return file

    @contextmanager
    def running(
        self, command: tuple[str, ...], file: Path, port: int, *, cpus: str = str(PROXY_CPU), timeout: float = 15.0
    ) -> Iterator[Process]:
        """Run a process on these CPUs, with its output in FILE.out (its access log, if it writes that to stdout).
        Yield when its port answers, or fail after `timeout` seconds; end it on exit.
        """
        complete = [filled(part, {"FILE": str(file), "FOLDER": str(self.folder)}) for part in command]
        with log_of(file).open("ab") as out:
            process = subprocess.Popen(
                ["taskset", "-c", cpus, *complete],
                stdout=out,
                cwd=self.folder,
                env={**os.environ, "BENCH_SECRET": SECRET},
            )
        try:
            wait_for(process, port, name=command[0], timeout=timeout)
            yield process
        finally:
            end(process)


@contextmanager
def opened() -> Iterator[Stage]:
    """Yield a stage whose upstream runs on the load's CPU, as does this process from now on."""
    if not {PROXY_CPU, LOAD_CPU} <= os.sched_getaffinity(0):
        raise BenchFailed("two CPUs are needed: 0 for the contender, 1 for upstream and load")
    os.sched_setaffinity(0, {LOAD_CPU})
    allow_files()
    with ExitStack() as stack:
        stage = Stage(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oic-gateway-bench-"))))
        stage.folder.chmod(0o755)  # nginx started by root reads as somebody else
        make_files(stage.folder / "www" / "ic")
        make_certificate(stage.folder)
        make_secrets(stage.folder)
        file = stage.fill("upstream.conf")
        stack.enter_context(stage.running(NGINX, file, int(stage.words["UPSTREAM"]), cpus=str(LOAD_CPU)))
        yield stage


def make_secrets(folder: Path) -> None:
    """Write the proofs of callers: of the gateway each in a file, of nginx in one that its worker can read."""
    for name, secret in (("api-key", API_KEY), ("password", PASSWORD)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")


def filled(text: str, words: Mapping[str, str | int]) -> str:
    """Return the text with its capital words replaced, if they are known."""
    return re.sub(r"\b[A-Z][A-Z_]+\b", lambda word: str(words.get(word[0], word[0])), text)


def make_certificate(folder: Path) -> None:
    """Make a self-signed certificate for localhost and 127.0.0.1: cert.pem and key.pem."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    contents = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(contents.public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


def log_of(file: Path) -> Path:
    return file.with_suffix(".out")


def wait_for(process: Process, port: int, *, name: str, timeout: float) -> None:
    until = time.monotonic() + timeout
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise BenchFailed(f"{name} does not answer on port {port}; see its output above")


def end(process: Process) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def allow_files() -> None:
    """Raise the limit of open files for this process and its children, as far as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for most in (max(hard, FILES), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (OSError, ValueError):
            continue
        return


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
