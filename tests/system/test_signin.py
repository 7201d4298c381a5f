"""`login` and `logout` as real processes: an HTTP client that follows the redirects stands for the browser."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import jwt
import pytest
from yarl import URL

from gateway.sandbox import RegisteredClient, Sandbox, Switches
from tests.fakes.authlib_server import Client as AuthlibClient
from tests.fakes.authlib_server import serving
from tests.fakes.console_program import CONSOLE
from tests.fakes.ports import reserved_port
from tests.fakes.process import CompletedVerb, Process, communicate, gateway, kill_group, run
from tests.fakes.redis import RedisServer
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import Settings, route, written

KEY = {"STATE_KEY": "0123456789abcdef" * 4}
GRANTS = frozenset({"authorization_code", "refresh_token"})


class Scene:
    """A credential `person` of the sandbox's public client `page`, kept in a file."""

    def __init__(self, folder: Path, sandbox: Sandbox, port: int) -> None:
        self.sandbox = sandbox
        self.port = port
        self.back = f"http://127.0.0.1:{self.port}/back"
        sandbox.clients["page"] = RegisteredClient(is_public=True, grants=GRANTS, redirect_uris=frozenset({self.back}))
        self._folder = folder

    def file(self, name: str = "gateway.yaml", state: Settings | None = None, **more: Any) -> Path:
        """The configuration; `more` are keys of the credential."""
        person = {
            "grant": "authorization_code",
            "client_auth": "none",
            "client_id": "page",
            "token_url": self.sandbox.token_url,
            "redirect_uri": self.back,
            "scope": f"{self.sandbox.scope} offline_access",
            **more,
        }
        document = {
            "listen": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
            "state": state
            or {"path": str(self._folder / "state.db"), "keys": [{"env": "STATE_KEY"}], "timeout": "20s"},
            "credentials": {"person": person},
            "routes": [route("orders", self.sandbox.upstream("ORDERS"), credential="person")],
        }
        return written(self._folder, {key: value for key, value in document.items() if value}, name)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    with reserved_port() as port:
        async with Sandbox(switches=Switches(rotate_refresh_tokens=True)) as sandbox:
            yield Scene(tmp_path, sandbox, port)


@asynccontextmanager
async def login(file: Path, *more: str, under: Sequence[str] = ()) -> AsyncIterator[tuple[Process, str]]:
    """A `login` that waits, and the address that it shows."""
    async with Process("login", *more, "-c", file, "person", **KEY).under(under) as process:
        await process.until(lambda: b"Waiting" in process.out)
        [url] = re.findall(r"(?m)^  (http\S+)$", process.output_text())
        yield process, url


async def browse(url: str) -> tuple[int, str, str]:
    """Follows the redirects from there: status and text of the last page, and its address."""
    async with aiohttp.ClientSession() as session, session.get(URL(url, encoded=True)) as reply:
        return reply.status, await reply.text(), str(reply.url)


async def back_from(url: str) -> str:
    """The address to which a browser would be sent back, without going there."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(url, encoded=True), allow_redirects=False) as reply,
    ):
        return reply.headers["Location"]


async def signed_in(file: Path, *, under: Sequence[str] = ()) -> str:
    """Signs in; gives everything that was said."""
    async with login(file, under=under) as (process, url):
        status, _, address = await browse(url)
        assert (status, await process.ended()) == (200, 0), process.output_text()
    output = process.output_text()
    assert parse_qs(urlsplit(address).query)["code"][0] not in output
    return output


async def paste(file: Path, choose: Any, *more: str) -> CompletedVerb:
    """`login --paste`, and what `choose` makes of the address that the browser would end at."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway", "login", "--paste", *more, "-c", str(file), "person"),
        env=KEY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIME_LIMIT):
            out = await process.stdout.readuntil(b"paste it here")
            [url] = re.findall(r"(?m)^  (http\S+)$", out.decode())
            address = choose(await back_from(url)).encode()
    except BaseException:
        kill_group(process.pid)
        raise
    status, rest, err = await communicate(process, address)
    return CompletedVerb(status, (out + rest).decode(), err.decode())


async def token(file: Path, *more: str) -> CompletedVerb:
    return await run("token", *more, "person", "-c", file, **KEY)


async def test_a_running_gateway_reports_and_notices_a_sign_in(scene: Scene) -> None:
    file = scene.file()
    async with gateway(file, **KEY) as gate:
        assert (await gate.get("/orders/"))[0] == 502
        status, ready = await gate.ask("/readyz")
        person = ready["credentials"]["person"]
        assert (status, person["state"], person["code"]) == (503, "sign-in-needed", "sign-in")
        command = "`oic-gateway login person`"
        assert command in person["remedy"]
        assert command in (await gate.ask("/status"))[1]["credentials"]["person"]["last_error"]["remedy"]
        [line] = await gate.wait_for_events("token-failed")
        assert (line["level"], line["code"], command in line["remedy"]) == ("error", "sign-in", True)
        probed = await run("probe", "--admin", gate.admin)
        assert "sign-in" in probed.out

        output = await signed_in(file)
        assert "ok   credential person: signed in as jdoe" in output
        await gate.until_status("/orders/", 200)  # it looks once a second
        assert (await gate.ask("/readyz"))[1]["credentials"]["person"] == {"state": "ok"}
    async with gateway(file, **KEY) as again:
        assert (await again.get("/orders/"))[0] == 200
    assert [request.form["grant_type"] for request in scene.sandbox.token_requests] == ["authorization_code"]


async def test_a_sign_in_is_renewed_by_one_process_at_a_time(scene: Scene) -> None:
    """The sandbox ends the whole sign-in when one refresh token is used twice."""
    await renewed_by_one_at_a_time(scene, scene.file(token_wait="60s"))


async def test_replicas_share_a_sign_in_through_redis(scene: Scene) -> None:
    async with RedisServer() as server:
        state = {"redis": {"url": server.url}, "keys": [{"env": "STATE_KEY"}], "timeout": "20s"}
        file = scene.file(state=state, token_wait="60s")  # four processes wait for each other
        await renewed_by_one_at_a_time(scene, file)
        assert (await run("logout", "person", "-c", file, **KEY)).status == 0
        assert "no person has signed in" in (await token(file)).err


async def test_a_lease_without_an_end_holds_no_sign_in_up(scene: Scene) -> None:
    async with RedisServer() as server, server.client() as redis:
        file = scene.file(state={"redis": {"url": server.url}, "keys": [{"env": "STATE_KEY"}], "timeout": "5s"})
        await signed_in(file)
        [token] = await redis.keys("*:token:*")
        lease = token.replace(b":token:", b":lease:")
        await redis.delete(token)
        await redis.set(lease, "a process that is gone")
        async with gateway(file, **KEY) as gate:
            call = asyncio.create_task(gate.get("/orders/"))
            await gate.wait_for_events("store-lease-endless")
            [event] = gate.events("store-lease-endless")
            assert (event["level"], event["entry"]) == ("warning", lease.decode())
            assert await redis.pttl(lease) != -1  # it has an end, or has ended
            await redis.pexpire(lease, 1)
            assert (await call)[0] == 200
            assert await redis.exists(lease) == 0
            assert len(gate.events("store-lease-endless")) == 1
    grants = [request.form["grant_type"] for request in scene.sandbox.token_requests]
    assert grants == ["authorization_code", "refresh_token"]


async def renewed_by_one_at_a_time(scene: Scene, file: Path) -> None:
    await signed_in(file)
    ended = await asyncio.gather(*(token(file, "--force") for _ in range(4)))
    assert [one.status for one in ended] == [0] * 4, ended
    claims = [jwt.decode(one.out.strip(), options={"verify_signature": False}) for one in ended]
    assert {claim["sub"] for claim in claims} == {"jdoe"}
    assert len({claim["jti"] for claim in claims}) == 4
    grants = [request.form["grant_type"] for request in scene.sandbox.token_requests]
    assert grants == ["authorization_code"] + ["refresh_token"] * 4


async def test_the_answer_to_another_question_is_passed_over(scene: Scene) -> None:
    file = scene.file()
    async with login(file) as (process, url):
        assert (await browse(f"{scene.back}?code=evil&state=guessed"))[0] == 400
        status, text, _ = await browse(url)
        assert (status, "<script" in text) == (200, False)
        assert await process.ended() == 0


async def test_a_redirect_uri_without_a_port_gets_a_free_one(scene: Scene) -> None:
    async with login(scene.file(redirect_uri=None)) as (process, url):
        [back] = parse_qs(urlsplit(url).query)["redirect_uri"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/callback", back)
        scene.sandbox.clients["page"] = RegisteredClient(is_public=True, grants=GRANTS, redirect_uris=frozenset({back}))
        assert (await browse(url))[0] == 200
        assert await process.ended() == 0


async def test_a_browser_is_opened_where_it_is_asked_for(scene: Scene, tmp_path: Path) -> None:
    script = tmp_path / "browser.py"
    script.write_text("import sys, urllib.request\nurllib.request.urlopen(sys.argv[1]).read()\n", encoding="utf-8")
    ended = await run(
        "login", "--browser", "person", "-c", scene.file(), **KEY, BROWSER=f"{sys.executable} {script} %s"
    )
    assert ended.status == 0, ended.err


@pytest.mark.parametrize(
    "choose",
    [
        lambda back: f"{back}\n",
        lambda back: f"  {back}",
        lambda back: parse_qs(urlsplit(back).query)["code"][0] + "\r\n",
        lambda back: f"not this one\n\nhttp://127.0.0.1/?code=x&state=other\n{back}\n",
    ],
    ids=["address", "no line end", "code", "third try"],
)
async def test_an_answer_that_is_pasted(scene: Scene, choose: Any) -> None:
    file = scene.file()
    ended = await paste(file, choose)
    assert ended.status == 0, ended.err
    assert (await token(file)).status == 0


async def test_a_remote_redirect_uri_implies_paste(scene: Scene) -> None:
    back = "https://gateway.example/back"
    scene.sandbox.clients["page"] = RegisteredClient(is_public=True, grants=GRANTS, redirect_uris=frozenset({back}))
    ended = await run("login", "person", "-c", scene.file(redirect_uri=back), **KEY)
    assert (ended.status, "Copy the whole address" in ended.out) == (69, True)
    assert "nothing was pasted" in ended.err


async def test_a_code_of_someone_else_s_sign_in_is_of_no_use(scene: Scene) -> None:
    """As one that an attacker has had made for himself: PKCE binds a code to whoever asked for it."""
    file, other = scene.file(), scene.file("other.yaml")
    async with login(other) as (process, url):
        stolen = parse_qs(urlsplit(await back_from(url)).query)["code"][0]
        await browse(url)
        assert await process.ended() == 0
    ended = await paste(file, lambda _back: f"{stolen}\n")
    assert ended.status == 69
    assert "invalid_grant" in ended.err
    assert stolen not in ended.out + ended.err


async def test_a_denied_sign_in_is_reported(scene: Scene) -> None:
    scene.sandbox.switches.signed_in = ""
    async with login(scene.file()) as (process, url):
        status, text, _ = await browse(url)
        assert (status, "access_denied" in text) == (200, True)
        assert await process.ended() == 69
        assert "FAIL credential person: access_denied: The user did not sign in" in process.output_text()
        assert "policy" in process.output_text()


async def test_no_refresh_token_is_no_sign_in(scene: Scene) -> None:
    file = scene.file(scope=scene.sandbox.scope)
    async with login(file) as (process, url):
        await browse(url)
        assert await process.ended() == 69
        assert "Add `offline_access` to the credential's `scope`" in process.output_text()
    assert "no person has signed in" in (await token(file)).err


async def test_a_port_in_use_is_reported(scene: Scene) -> None:
    async with login(scene.file()) as (process, url):
        ended = await run("login", "person", "-c", scene.file("same.yaml"), **KEY)
        assert ended.status == 69
        assert f"cannot listen on {scene.back}" in ended.err
        assert "--paste" in ended.err
        await browse(url)
        assert await process.ended() == 0


async def test_a_store_that_is_down_is_reported_before_the_sign_in(scene: Scene, closed_port: int) -> None:
    state = {"redis": {"url": f"redis://127.0.0.1:{closed_port}"}, "keys": [{"env": "STATE_KEY"}]}
    for verb in ("login", "logout"):
        ended = await run(verb, "person", "-c", scene.file(state=state), **KEY)
        assert (ended.status, ended.out) == (69, "")
        assert "Restore the store" in ended.err


async def test_who_cannot_sign_in(scene: Scene, tmp_path: Path) -> None:
    document, file = scene.file().read_text(encoding="utf-8"), tmp_path / "given.yaml"
    for verb in ("login", "logout"):
        ended = await run(verb, "persn", "-c", scene.file(), **KEY)
        assert (ended.status, "there is no credential persn; did you mean" in ended.err) == (78, True), ended.err
        grant = '"refresh_token", "refresh_token": {"env": "RT"}'
        text = re.sub(r'"redirect_uri": [^\n]*\n', "", document).replace('"authorization_code"', grant)
        file.write_text(text, encoding="utf-8")
        ended = await run(verb, "person", "-c", file, RT="r", **KEY)
        assert (ended.status, "`grant: authorization_code` only" in ended.err) == (78, True), ended.err
    file.write_text(re.sub(r'(?s)"state": \{.*?\},\n "cred', '"cred', document), encoding="utf-8")
    ended = await run("login", "person", "-c", file, **KEY)
    assert ended.status == 78
    assert "requires `state` at the top level of the file, which stores the sign-in" in ended.err


async def test_logout_revokes_and_forgets(scene: Scene) -> None:
    file = scene.file()
    await signed_in(file)
    ended = await run("logout", "person", "-c", file, **KEY)
    assert (ended.status, ended.out) == (
        0,
        "ok   credential person: signed out; the refresh token is revoked and deleted\n",
    )
    assert (await token(file)).err.startswith("FAIL credential person: sign-in: no person has signed in yet")
    again = await run("logout", "person", "-c", file, **KEY)
    assert (again.status, again.out) == (0, "ok   credential person: no person was signed in\n")


async def test_logout_deletes_a_token_that_cannot_be_revoked(scene: Scene, closed_port: int) -> None:
    file = scene.file(revoke_url=f"http://127.0.0.1:{closed_port}/revoke")
    await signed_in(file)
    ended = await run("logout", "person", "-c", file, **KEY)
    assert ended.status == 69
    assert "signed out here, but the refresh token may still be valid: it was not revoked (connect:" in ended.err
    assert "no person has signed in" in (await token(file)).err


async def test_with_a_server_that_we_did_not_write(tmp_path: Path, closed_port: int) -> None:
    back = f"http://127.0.0.1:{closed_port}/back"
    client = AuthlibClient("app", "s3cret", method="client_secret_basic", grants=tuple(GRANTS), redirect_uri=back)
    with serving(client) as (url, server):
        person = {
            "grant": "authorization_code",
            "client_id": "app",
            "client_secret": {"env": "APP_SECRET"},
            "token_url": url,
            "redirect_uri": back,
            "scope": "orders",
        }
        document = {
            "state": {"path": "state.db", "keys": [{"env": "STATE_KEY"}], "timeout": "20s"},
            "credentials": {"person": person},
            "routes": [route("orders", "https://u.example/", credential="person")],
        }
        file = written(tmp_path, document)
        secrets = {**KEY, "APP_SECRET": "s3cret"}
        async with Process("login", "-c", file, "person", **secrets) as process:
            await process.until(lambda: b"Waiting" in process.out)
            [address] = re.findall(r"(?m)^  (http\S+)$", process.output_text())
            assert (await browse(address))[0] == 200
            assert await process.ended() == 0, process.output_text()
        tokens = [
            (await run("token", *more, "person", "-c", file, **secrets)).out.strip() for more in ((), ("--force",))
        ]
        assert tokens == server.issued
        [refresh_token] = server.refresh_tokens
        for output in (process.output_text(), *(str(form) for form in server.forms[:1])):
            assert refresh_token not in output
        ended = await run("logout", "person", "-c", file, **secrets)
        assert (ended.status, server.refresh_tokens) == (0, {}), ended.err


async def test_a_sign_out_in_the_console_reaches_all_workers(scene: Scene) -> None:
    file = scene.file()
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"workers": 2, "console": {}}))
    await signed_in(file)
    async with Process("serve", "-c", file, **KEY).under(CONSOLE) as gate:
        await gate.wait_started()
        states: set[str] = set()
        async with asyncio.timeout(TIME_LIMIT):
            while states != {"fresh"}:
                assert (await gate.get("/orders/"))[0] == 200
                workers = (await gate.ask("/status"))[1]["workers"]
                states = {worker["credentials"]["person"]["state"] for worker in workers}
        _, result = await gate.ask("/console/sign_out?name=person")
        assert result["ok"], result
        assert "revoked and deleted" in result["message"]
        assert {(await gate.get("/orders/"))[0] for _ in range(20)} == {502}
        _, ready = await gate.ask("/readyz")
        assert ready["credentials"]["person"]["state"] == "sign-in-needed"
        fetches: Any = (await gate.ask("/console/token_fetches?name=person"))[1]
        assert {fetch["code"] for fetch in fetches if fetch["outcome"] == "refused"} == {"sign-in"}
        _, again = await gate.ask("/console/sign_out?name=person")
        assert "no person was signed in" in again["message"]
