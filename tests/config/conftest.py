"""A configuration that is right, to be spoilt by the tests, and what is said of a text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.load import ConfigProblems, load

RIGHT = """\
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

Say = Callable[[str], list[str]]


@pytest.fixture
def right() -> str:
    return RIGHT


@pytest.fixture
def said(tmp_path: Path) -> Say:
    """Loads the text as a file and gives every problem and warning, each from its line number on.

    The folder of the file is shown as FOLDER.
    """

    def say(text: str) -> list[str]:
        file = tmp_path / "gateway.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            said = [str(problem) for problem in load(file, environ=ENVIRON).warnings]
        except ConfigProblems as refused:
            said = str(refused).splitlines()
        return [line.removeprefix(f"{file}:").replace(str(tmp_path), "FOLDER") for line in said]

    return say
