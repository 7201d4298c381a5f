"""A valid configuration that tests modify, and the problems of a text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.load import ConfigProblems, load

VALID = """\
listen: 127.0.0.1:8080
credentials:
  app:
    token_url: https://idcs.example/oauth2/v1/token
    client_id: an-id
    client_secret: {env: APP_SECRET}
routes:
  - name: orders
    path: /orders/
    upstream: https://acme.example/ic/ORDERS/1.0/
    credential: app
"""
ENVIRON = {"APP_SECRET": "hunter2", "STATE_KEY": "0123456789abcdef" * 4}

ProblemsOf = Callable[[str], list[str]]


@pytest.fixture
def valid() -> str:
    return VALID


@pytest.fixture
def problems_of(tmp_path: Path) -> ProblemsOf:
    """Return a function that loads a text as a file and returns every problem and warning, from its line number on.

    The folder of the file is shown as FOLDER.
    """

    def load_text(text: str) -> list[str]:
        file = tmp_path / "gateway.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            lines = [str(problem) for problem in load(file, environ=ENVIRON).warnings]
        except ConfigProblems as refused:
            lines = str(refused).splitlines()
        return [line.removeprefix(f"{file}:").replace(str(tmp_path), "FOLDER") for line in lines]

    return load_text
