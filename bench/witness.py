"""A small HTTP server in this process, for counting or timing rather than speed.

It is a token endpoint that counts its requests, can issue short-lived tokens and can wait, and a sink for uploads.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.stage import TOKEN

_BLOCK = 1 << 20


class Witness(ThreadingHTTPServer):
    """`POST /token/SECONDS` returns a token with that lifetime, `POST /sink` reads its body and returns its length."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens: list[float] = []
        """The life of each token given so far."""
        self.may_answer = threading.Event()
        """While it is not set, token requests wait."""
        self.may_answer.set()

    def handle_error(self, *_: object) -> None:
        """Do nothing: the run notices a caller that left."""

    @property
    def url(self) -> str:
        """Return the URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Witness

    def do_POST(self) -> None:
        answer = self._token if self.path.startswith("/token/") else self._sink
        content = json.dumps(answer()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _token(self) -> dict[str, object]:
        self._read()
        life = float(self.path.rpartition("/")[2])
        self.server.tokens.append(life)
        self.server.may_answer.wait()
        return {"access_token": TOKEN, "token_type": "Bearer", "expires_in": life}

    def _sink(self) -> dict[str, object]:
        return {"read": self._read()}

    def _read(self) -> int:
        """Read the body by its length or in chunks (RFC 9112 §7.1). Return its length."""
        if length := int(self.headers.get("Content-Length", 0)):
            return self._skip(length)
        if self.headers.get("Transfer-Encoding") is None:
            return 0
        total = 0
        while size := int(self.rfile.readline().split(b";")[0], 16):
            total += self._skip(size)
            self.rfile.readline()
        self.rfile.readline()
        return total

    def _skip(self, size: int) -> int:
        left = size
        while left and (block := self.rfile.read(min(left, _BLOCK))):
            left -= len(block)
        return size - left

    def log_message(self, *_: object) -> None:
        """Do nothing."""


@contextmanager
def witness() -> Iterator[Witness]:
    """Yield a running witness, on its own threads."""
    with Witness() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.may_answer.set()
            server.shutdown()
            thread.join()
