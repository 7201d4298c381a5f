"""One hook: TLS is verified, the URL is read for each attempt, a failure that may pass is tried again."""

import json
from pathlib import Path

import pytest

from gateway.config.notify_model import NotifySettings
from gateway.config.secrets import SecretReader
from gateway.config.strict_model import SecretRef, TlsSettings
from gateway.notifications import hook_client
from gateway.notifications.hook_client import HookClient, HookFailed
from tests.fakes.certificates import server_context, server_pem
from tests.fakes.identity import CLOSE, Answer, Identity, answer, in_pieces


def client(file: Path, *, ca: Path | None = None) -> HookClient:
    tls = None if ca is None else TlsSettings(ca=str(ca))
    return HookClient(NotifySettings(url=SecretRef(file=str(file)), tls=tls), SecretReader({}), {})


async def send(client_: HookClient) -> str:
    """Send a document; return the failure, if any."""
    try:
        await client_.send({"text": "hello"})
    except HookFailed as failure:
        return str(failure)
    return ""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_client, "PAUSES", (0.0, 0.0))


async def test_the_certificate_of_a_hook_is_verified(tmp_path: Path) -> None:
    file, pem = tmp_path / "hook", server_pem(tmp_path)
    async with Identity(tls=server_context(pem)) as hook:
        file.write_text(f"{hook.url}\n", encoding="utf-8")
        assert await send(client(file)) == "cannot connect: the certificate is not trusted"
        assert hook.requests == []
        assert await send(client(file, ca=pem)) == ""
        assert json.loads(hook.requests[0].body) == {"text": "hello"}
        assert hook.requests[0].headers["content-type"] == "application/json"


async def test_a_changed_url_is_used_and_failures_are_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "hook"
    one = client(file)
    assert "is missing" in await send(one)
    async with Identity(answer(503), CLOSE, answer(204)) as hook:
        file.write_text(hook.url, encoding="utf-8")
        assert await send(one) == ""
        assert len(hook.requests) == 3
    async with Identity(*[answer(410)] * 3) as gone:
        file.write_text(gone.url, encoding="utf-8")
        assert await send(one) == "the hook answers 410"
        assert len(gone.requests) == 1
    assert await send(one) == "cannot connect: no connection"
    file.write_text("hooks.example.com", encoding="utf-8")
    assert "is not an http or https URL" in await send(one)


TAKEN = {
    "in pieces": in_pieces(b"thanks" * 100, 1, 100, 100),
    "chunked": in_pieces(b"thanks" * 100, 1, 100, 100, chunked=True),
    "too large": in_pieces(b"thanks" * 10_000, 1, 5000),
    "truncated": in_pieces(b"thanks", 1, length=100),
    "truncated chunks": in_pieces(b"thanks", 1, chunked=True, length=100),
}


@pytest.mark.parametrize("played", TAKEN.values(), ids=TAKEN)
async def test_a_hook_that_took_a_notification_is_called_once(tmp_path: Path, played: Answer) -> None:
    file = tmp_path / "hook"
    async with Identity(played) as hook:
        file.write_text(hook.url, encoding="utf-8")
        assert await send(client(file)) == ""
        assert len(hook.requests) == 1
