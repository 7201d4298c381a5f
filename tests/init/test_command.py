"""`init` as a process: by flags, and at a terminal."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.sandbox import Sandbox
from tests.fakes.process import Ended, run
from tests.fakes.terminal import Terminal
from tests.system.test_startup import TRACED, imported

HASH = "0123456789ABCDEF0123456789ABCDEF"
TAIL = "integration.us-phoenix-1.ocp.oraclecloud.com"
TRIGGER = "urn:opc:resource:consumer::all"
IDENTITY = "https://idcs-0123456789abcdef0123456789abcdef.identity.oraclecloud.com"
ORDERS = f"https://acme.{TAIL}/ic/api/integration/v1/flows/rest/ORDERS/1.0/"
SECRET = "hunter2-hunter2"

pytestmark = pytest.mark.usefixtures("secret")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    return file


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def flags(folder: Path, **more: str | None) -> list[str]:
    """The flags of a good command line, with others in their place; None leaves one out."""
    said: dict[str, str | None] = {
        "domain-url": IDENTITY,
        "client-id": "app-id",
        "secret-file": str(folder / "secret"),
        "scope": f"https://{HASH}.{TAIL}:443{TRIGGER}",
        "url": ORDERS,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return [word for name, value in said.items() if value is not None for word in (f"--{name}", value)]


async def init(folder: Path, *words: str, **more: str | None) -> Ended:
    return await run("init", *flags(folder, **more), *words, folder / "gateway.yaml")


async def test_a_first_file_passes_check(tmp_path: Path) -> None:
    ended = await init(tmp_path)
    file = tmp_path / "gateway.yaml"
    assert (ended.status, ended.err) == (0, "")
    assert f"oic-gateway check --live -c {file}" in ended.out
    assert f"oic-gateway serve -c {file}" in ended.out
    assert "curl http://127.0.0.1:8080/orders/" in ended.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    checked = await run("check", "-c", file)
    assert (checked.status, checked.out, checked.err) == (0, f"{file}: OK: 1 route, 1 credential\n", "")
    config = load(file, environ={}).config
    assert (config.routes[0].name, config.routes[0].path, config.routes[0].upstream) == ("orders", "/orders/", ORDERS)
    assert config.credentials["orders-app"].token_url == f"{IDENTITY}/oauth2/v1/token"


async def test_what_was_pasted_is_corrected_and_explained(tmp_path: Path) -> None:
    ended = await init(
        tmp_path,
        domain_url=f"{IDENTITY}:443/ui/v1/adminconsole",
        client_id=" app-id ",
        scope=f"https://{HASH}.{TAIL}/{TRIGGER}",
        url=f"http://acme.{TAIL}:443/ic/ws/integration/v1/flows/soap/HELLO/1.0/?wsdl",
        name="greeting",
        path="hello",
    )
    assert (ended.status, ended.err) == (0, "")
    for line in (
        "--domain-url: left off the path of the domain's console; the token endpoint is /oauth2/v1/token",
        f"--domain-url: it is {IDENTITY}/oauth2/v1/token",
        "--client-id: took away the white space around it",
        "--scope: took out the slash before `urn`, which is refused",
        "--scope: put `:443` behind the host, which belongs to the audience",
        "--url: wrote https for http: Oracle speaks TLS only",
        "--path: put a slash at both ends",
    ):
        assert line in ended.out.splitlines()
    config = load(tmp_path / "gateway.yaml", environ={}).config
    assert config.credentials["greeting-app"].scope == f"https://{HASH}.{TAIL}:443{TRIGGER}"
    route = config.routes[0]
    assert (route.name, route.path) == ("greeting", "/hello/")
    assert route.upstream == f"https://acme.{TAIL}/ic/ws/integration/v1/flows/soap/HELLO/1.0/"


async def test_the_developer_api_gets_its_instance(tmp_path: Path) -> None:
    url = f"https://acme.{TAIL}/ic/api/integration/v1/integrations"
    ended = await init(tmp_path, url=url, scope=HASH)
    assert (ended.status, ended.err) == (0, "")
    assert "integrationInstance" in ended.out
    config = load(tmp_path / "gateway.yaml", environ={}).config
    assert config.credentials["integrations-app"].scope == f"https://{HASH}.{TAIL}:443/ic/api/"
    [route] = config.routes
    assert route.upstream == url
    assert route.query is not None
    assert route.query.set == {"integrationInstance": "acme"}


async def test_what_is_missing_is_named_all_at_once(tmp_path: Path) -> None:
    ended = await init(tmp_path, client_id=None, scope=None)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "oic-gateway init: there is no terminal to prompt on; set --client-id, --scope\n"
    ended = await run("init", "--yes")
    assert (ended.status, ended.out) == (2, "")
    assert "--domain-url, --client-id, --secret-file, --scope, --url" in ended.err
    assert names(tmp_path) == ["secret"]


async def test_all_that_is_wrong_is_said_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    pasted = "5f0c2f0e-8a54-4be1-9c4e-3a5a9d7b1c2d"
    ended = await init(
        tmp_path,
        domain_url="https://cloud.oracle.com/identity/domains/x",
        client_id="My application",
        secret_file=pasted,
        scope=f"https://{HASH}.{TAIL}:443{TRIGGER} https://{HASH}.{TAIL}:443/ic/api/",
        url=f"https://acme.{TAIL}/ic/integration/home/faces/link",
        path="/a/../b/",
        name="no name",
    )
    assert ended.status == 78
    rows = ended.err.splitlines()
    named = {row.split(": ")[0] for row in rows}
    assert named == {"--domain-url", "--client-id", "--secret-file", "--scope", "--url", "--path", "--name"}
    assert all("; " in row for row in rows)
    assert pasted not in ended.out + ended.err
    assert names(tmp_path) == ["secret"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"listen": "0.0.0.0:8080"}, "--listen: can be reached from other machines"),
        ({"listen": "8080"}, "--listen: is not an address"),
        ({"admin": "127.0.0.1:8080"}, "--admin: takes the same address"),
        ({"allow": "10.0.0.1/8"}, "--allow: has bits set"),
    ],
)
async def test_addresses_are_judged_by_the_loader(tmp_path: Path, more: dict[str, str], said: str) -> None:
    ended = await init(tmp_path, **more)
    assert ended.status == 78
    assert said in ended.err
    assert names(tmp_path) == ["secret"]


async def test_addresses_are_written(tmp_path: Path) -> None:
    ended = await init(tmp_path, listen="0.0.0.0:80", admin="127.0.0.1:0", allow="10.0.0.0/8")
    assert (ended.status, ended.err) == (0, "")
    config = load(tmp_path / "gateway.yaml", environ={}).config
    assert (config.listen, config.admin, [str(one) for one in config.allow]) == (
        "0.0.0.0:80",
        "127.0.0.1:0",
        ["10.0.0.0/8"],
    )
    assert "curl http://127.0.0.1:80/orders/" in ended.out


async def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("precious")
    ended = await init(tmp_path)
    assert (ended.status, ended.out) == (78, "")
    assert "exists; use --force to overwrite it" in ended.err
    assert file.read_text() == "precious"
    assert (await init(tmp_path, "--force")).status == 0
    assert (await run("check", "-c", file)).status == 0


@pytest.mark.parametrize("place", ["nowhere/gateway.yaml", ""])
async def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path, place: str) -> None:
    ended = await run("init", *flags(tmp_path), tmp_path / place)
    assert ended.status == 78
    assert "cannot write" in ended.err
    assert "Traceback" not in ended.err


async def test_a_secret_on_the_command_line_is_refused_and_not_shown() -> None:
    for flag in ("--secret", "--client-secret"):
        ended = await run("init", flag, SECRET)
        assert ended.status == 2
        assert "--secret-file" in ended.err
        assert SECRET not in ended.err


async def test_a_secret_that_is_to_come_is_noted(tmp_path: Path) -> None:
    ended = await init(tmp_path, secret_file="/run/secrets/orders-app-of-tests")
    assert (ended.status, ended.err) == (0, "")
    assert "--secret-file: note: the file is not there yet" in ended.out
    assert (await run("check", "-c", tmp_path / "gateway.yaml")).status == 78


async def test_live_all_is_well(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "secret").write_text(f"{sandbox.client_secret}\n")
    more = {"domain_url": sandbox.origin, "client_id": sandbox.client_id, "scope": sandbox.scope}
    ended = await init(tmp_path, "--live", **more, url=f"{sandbox.upstream('ORDERS')}metadata")
    assert ended.status == 0, ended.out + ended.err
    assert "ok   credential orders-app" in ended.out
    checked = await run("check", "--live", "-c", tmp_path / "gateway.yaml")
    assert checked.status == 0, checked.out + checked.err


async def test_live_a_mistake_is_explained(tmp_path: Path, sandbox: Sandbox) -> None:
    more = {"domain_url": sandbox.origin, "client_id": sandbox.client_id, "scope": sandbox.scope}
    ended = await init(tmp_path, "--live", **more, url=sandbox.upstream("ORDERS"))
    assert ended.status == 69
    assert "FAIL credential orders-app" in ended.out
    assert (tmp_path / "gateway.yaml").exists()


async def test_a_person_is_asked_for_everything(tmp_path: Path, sandbox: Sandbox) -> None:
    async with Terminal(tmp_path, "init") as terminal:
        await terminal.answers("Domain URL: ", f"{sandbox.origin}/ui/v1/adminconsole")
        await terminal.sees("left off the path of the domain's console")
        await terminal.answers("Client ID: ", f" {sandbox.client_id} ")
        await terminal.answers("Integration URL: ", f"{sandbox.upstream('ORDERS')}metadata")
        await terminal.answers("Scope: ", "several https://a.oraclecloud.com")
        await terminal.sees("has several resources")
        await terminal.answers("Scope: ", sandbox.scope.replace("urn:", "/urn:", 1))
        await terminal.sees("took out the slash before `urn`")
        await terminal.answers("Route name [orders]: ", "")
        await terminal.answers("Path [/orders/]: ", "")
        await terminal.sees(f"Client ID: {sandbox.client_id}\n  Integration URL: {sandbox.upstream('ORDERS')}\n")
        await terminal.answers("Is this right? (n goes back to the question before) [Y/n] ", "")
        await terminal.answers("Secret file [./orders.secret]: ", "")
        await terminal.answers("Write it now, so that only you can read it? [Y/n] ", "")
        await terminal.answers("Client secret (it is not shown): ", sandbox.client_secret)
        await terminal.sees("wrote ./orders.secret")
        await terminal.sees("wrote gateway.yaml")
        await terminal.answers("Check it now with a real token and a real connection? [Y/n] ", "")
        assert await terminal.ended() == 0, terminal.shown
    assert "ok   credential orders-app" in terminal.shown
    assert sandbox.client_secret not in terminal.shown
    kept = tmp_path / "orders.secret"
    assert kept.read_text() == sandbox.client_secret
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sandbox.client_secret not in (tmp_path / "gateway.yaml").read_text()
    checked = await run("check", "--live", "-c", tmp_path / "gateway.yaml")
    assert checked.status == 0, checked.out + checked.err


async def test_a_person_is_asked_only_for_what_no_flag_says(tmp_path: Path) -> None:
    said = flags(tmp_path, client_id=None, scope="", name="orders", path="/orders/")
    async with Terminal(tmp_path, "init", *said, "--no-live") as terminal:
        await terminal.answers("Client ID: ", "app-id")
        await terminal.sees("--scope: is empty")
        await terminal.answers("Scope: ", HASH)
        assert await terminal.ended() == 0, terminal.shown
    assert "Domain URL" not in terminal.shown
    assert load(tmp_path / "gateway.yaml", environ={}).config.credentials["orders-app"].client_id == "app-id"


async def test_a_person_may_narrow_the_route(tmp_path: Path) -> None:
    said = flags(tmp_path, url=f"{ORDERS}orders/open", name="orders", path="/orders/")
    async with Terminal(tmp_path, "init", *said, "--no-live", "one.yaml") as terminal:
        await terminal.answers("reach only what lies below /orders/open, not all of the integration? [y/N] ", "y")
        assert await terminal.ended() == 0, terminal.shown
    assert load(tmp_path / "one.yaml", environ={}).config.routes[0].upstream == f"{ORDERS}orders/open"
    async with Terminal(tmp_path, "init", *said, "--no-live", "two.yaml") as terminal:
        await terminal.answers("[y/N] ", "")
        assert await terminal.ended() == 0, terminal.shown
    assert load(tmp_path / "two.yaml", environ={}).config.routes[0].upstream == ORDERS


async def test_a_person_may_write_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    said = flags(tmp_path, name="orders", path="/orders/")
    for answer, status in (("", 78), ("perhaps\nn", 78), ("y", 0)):
        file.write_text("precious")
        async with Terminal(tmp_path, "init", *said, "--no-live") as terminal:
            await terminal.answers("Overwrite it? [y/N] ", answer)
            assert await terminal.ended() == status, terminal.shown
        assert (file.read_text() == "precious") == (status == 78)


@pytest.mark.parametrize("key", ["\x03", "\x04"])
async def test_a_person_may_leave(tmp_path: Path, key: str) -> None:
    async with Terminal(tmp_path, "init") as terminal:
        await terminal.answers("Domain URL: ", IDENTITY)
        await terminal.sees("Client ID: ")
        terminal.presses(key)
        assert await terminal.ended() == 130
    assert "no configuration was written" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert names(tmp_path) == ["secret"]


async def test_nothing_is_asked_by_yes(tmp_path: Path) -> None:
    async with Terminal(tmp_path, "init", *flags(tmp_path), "--yes") as terminal:
        assert await terminal.ended() == 0, terminal.shown
    assert "?" not in terminal.shown
    assert (tmp_path / "gateway.yaml").exists()


async def test_writing_a_file_needs_neither_loop_nor_sandbox(tmp_path: Path) -> None:
    ended = await run("init", *flags(tmp_path), tmp_path / "gateway.yaml", **TRACED)
    loaded = imported(ended.err)
    assert "gateway.init.form" in loaded
    assert not loaded & {"aiohttp", "gateway.server.gateway", "gateway.sandbox", "gateway.checks.run", "uvloop"}


LIKELY_SECRETS = (
    "idcscs-5f0c1d8e-1234-4abc-8def-0123456789ab",
    "5f0c1d8e-1234-4abc-8def-0123456789ab",
    "Zx9-qwErty77Pl~aB",
)


@pytest.mark.parametrize("secret", LIKELY_SECRETS)
async def test_a_secret_at_a_wrong_question_is_not_repeated(tmp_path: Path, secret: str) -> None:
    async with Terminal(tmp_path, "init", "--no-live") as terminal:
        await terminal.answers("Domain URL: ", secret)
        await terminal.sees("may be a client secret")
        await terminal.answers("Domain URL: ", IDENTITY)
        if secret != LIKELY_SECRETS[2]:  # an id of another server may look like that
            await terminal.answers("Client ID: ", f" {secret} ")
            await terminal.sees("is the client secret, not the id")
        await terminal.answers("Client ID: ", "an-id")
        await terminal.answers("Integration URL: ", secret)
        await terminal.sees("may be a client secret")
        await terminal.answers("Integration URL: ", ORDERS)
        await terminal.answers("Scope: ", secret)
        await terminal.sees("may be a client secret")
        await terminal.answers("Scope: ", HASH)
        await terminal.answers("Route name [orders]: ", secret)
        await terminal.sees("may be a client secret")
        await terminal.answers("Route name [orders]: ", "")
        await terminal.answers("Path [/orders/]: ", secret)
        await terminal.sees("may be a client secret")
        await terminal.sees("Path [/orders/]: ")
        terminal.presses("\x04")
        assert await terminal.ended() == 130
    times_typed = 5 if secret == LIKELY_SECRETS[2] else 6
    assert terminal.shown.count(secret) == times_typed  # as the terminal itself shows what is typed
    assert not (tmp_path / "gateway.yaml").exists()


async def test_a_person_can_go_back(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a-secret")
    (tmp_path / "secret").chmod(0o600)
    said = ("--domain-url", IDENTITY, "--secret-file", "secret", "--no-live")
    async with Terminal(tmp_path, "init", *said) as terminal:
        await terminal.sees("Client ID: ")
        await terminal.sees("(type < to go back)")
        await terminal.answers("Client ID: ", "<")  # the first: it is asked again
        await terminal.answers("Client ID: ", "wrong-id")
        await terminal.answers("Integration URL: ", ORDERS)
        await terminal.answers("Scope: ", "<")
        await terminal.answers("Integration URL [", "<")
        await terminal.answers("Client ID [wrong-id]: ", "right-id")
        await terminal.answers("Integration URL [", "")
        await terminal.answers("Scope: ", HASH)
        await terminal.answers("Route name [orders]: ", "")
        await terminal.answers("Path [/orders/]: ", "/wrong/")
        await terminal.sees("  Client ID: right-id\n")
        await terminal.answers("Is this right? (n goes back to the question before) [Y/n] ", "n")
        await terminal.answers("Path [/wrong/]: ", "/right/")
        await terminal.answers("Is this right? (n goes back to the question before) [Y/n] ", "")
        assert await terminal.ended() == 0, terminal.shown
    written = load(tmp_path / "gateway.yaml", environ={}).config
    assert [one.client_id for one in written.credentials.values()] == ["right-id"]
    assert [route.path for route in written.routes] == ["/right/"]
