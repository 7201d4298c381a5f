"""`init` as a process: by flags, and at a terminal."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.sandbox import Sandbox
from tests.fakes.process import CompletedVerb, run
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
    """Return the flags of a valid command line, changed by `more`; None omits a flag."""
    values: dict[str, str | None] = {
        "domain-url": IDENTITY,
        "client-id": "app-id",
        "secret-file": str(folder / "secret"),
        "scope": f"https://{HASH}.{TAIL}:443{TRIGGER}",
        "url": ORDERS,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return [word for name, value in values.items() if value is not None for word in (f"--{name}", value)]


async def init(folder: Path, *words: str, **more: str | None) -> CompletedVerb:
    return await run("init", *flags(folder, **more), *words, folder / "gateway.yaml")


async def test_written_file_passes_check(tmp_path: Path) -> None:
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


async def test_pasted_values_are_corrected_and_explained(tmp_path: Path) -> None:
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
        "--domain-url: removed the path of the domain's console; the token endpoint is /oauth2/v1/token",
        f"--domain-url: the value is {IDENTITY}/oauth2/v1/token",
        "--client-id: removed the white space around the value",
        "--scope: removed the slash before `urn`, which identity domains reject",
        "--scope: added `:443` after the host, which is part of the audience",
        "--url: replaced http with https: Oracle accepts only TLS",
        "--path: added a slash at both ends",
    ):
        assert line in ended.out.splitlines()
    config = load(tmp_path / "gateway.yaml", environ={}).config
    assert config.credentials["greeting-app"].scope == f"https://{HASH}.{TAIL}:443{TRIGGER}"
    route = config.routes[0]
    assert (route.name, route.path) == ("greeting", "/hello/")
    assert route.upstream == f"https://acme.{TAIL}/ic/ws/integration/v1/flows/soap/HELLO/1.0/"


async def test_developer_api_route_sets_the_instance(tmp_path: Path) -> None:
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


async def test_all_missing_flags_are_named_at_once(tmp_path: Path) -> None:
    ended = await init(tmp_path, client_id=None, scope=None)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "oic-gateway init: there is no terminal to prompt on; set --client-id, --scope\n"
    ended = await run("init", "--yes")
    assert (ended.status, ended.out) == (2, "")
    assert "--domain-url, --client-id, --secret-file, --scope, --url" in ended.err
    assert names(tmp_path) == ["secret"]


async def test_all_problems_are_reported_and_nothing_is_written(tmp_path: Path) -> None:
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
    ("more", "message"),
    [
        ({"listen": "0.0.0.0:8080"}, "--listen: can be reached from other machines"),
        ({"listen": "8080"}, "--listen: is not an address"),
        ({"admin": "127.0.0.1:8080"}, "--admin: is the same address as `listen`"),
        ({"allow": "10.0.0.1/8"}, "--allow: has host bits set"),
    ],
)
async def test_loader_checks_the_addresses(tmp_path: Path, more: dict[str, str], message: str) -> None:
    ended = await init(tmp_path, **more)
    assert ended.status == 78
    assert message in ended.err
    assert "warning" not in ended.err
    assert names(tmp_path) == ["secret"]


async def test_addresses_are_written_to_the_file(tmp_path: Path) -> None:
    ended = await init(tmp_path, listen="0.0.0.0:80", admin="127.0.0.1:0", allow="10.0.0.0/8")
    assert (ended.status, ended.err) == (0, "")
    config = load(tmp_path / "gateway.yaml", environ={}).config
    assert (config.listen, config.admin, [str(one) for one in config.allow]) == (
        "0.0.0.0:80",
        "127.0.0.1:0",
        ["10.0.0.0/8"],
    )
    assert "curl http://127.0.0.1:80/orders/" in ended.out


async def test_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("precious")
    ended = await init(tmp_path)
    assert (ended.status, ended.out) == (78, "")
    assert "exists; use --force to overwrite it" in ended.err
    assert file.read_text() == "precious"
    assert (await init(tmp_path, "--force")).status == 0
    assert (await run("check", "-c", file)).status == 0


@pytest.mark.parametrize("place", ["nowhere/gateway.yaml", ""])
async def test_unwritable_path_is_reported(tmp_path: Path, place: str) -> None:
    ended = await run("init", *flags(tmp_path), tmp_path / place)
    assert ended.status == 78
    assert "cannot write" in ended.err
    assert "Traceback" not in ended.err


async def test_secret_flag_is_rejected_and_not_displayed() -> None:
    for flag in ("--secret", "--client-secret"):
        ended = await run("init", flag, SECRET)
        assert ended.status == 2
        assert "--secret-file" in ended.err
        assert SECRET not in ended.err


async def test_missing_secret_file_gives_a_note(tmp_path: Path) -> None:
    ended = await init(tmp_path, secret_file="/run/secrets/orders-app-of-tests")
    assert (ended.status, ended.err) == (0, "")
    assert "--secret-file: note: the file does not exist" in ended.out
    assert (await run("check", "-c", tmp_path / "gateway.yaml")).status == 78


async def test_live_check_passes_for_good_values(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "secret").write_text(f"{sandbox.client_secret}\n")
    more = {"domain_url": sandbox.origin, "client_id": sandbox.client_id, "scope": sandbox.scope}
    ended = await init(tmp_path, "--live", **more, url=f"{sandbox.upstream('ORDERS')}metadata")
    assert ended.status == 0, ended.out + ended.err
    assert "ok   credential orders-app" in ended.out
    checked = await run("check", "--live", "-c", tmp_path / "gateway.yaml")
    assert checked.status == 0, checked.out + checked.err


async def test_live_check_explains_a_mistake(tmp_path: Path, sandbox: Sandbox) -> None:
    more = {"domain_url": sandbox.origin, "client_id": sandbox.client_id, "scope": sandbox.scope}
    ended = await init(tmp_path, "--live", **more, url=sandbox.upstream("ORDERS"))
    assert ended.status == 69
    assert "FAIL credential orders-app" in ended.out
    assert (tmp_path / "gateway.yaml").exists()


async def test_terminal_prompts_for_all_values(tmp_path: Path, sandbox: Sandbox) -> None:
    async with Terminal(tmp_path, "init") as terminal:
        await terminal.answer_prompt("Domain URL: ", f"{sandbox.origin}/ui/v1/adminconsole")
        await terminal.wait_for_text("removed the path of the domain's console")
        await terminal.answer_prompt("Client ID: ", f" {sandbox.client_id} ")
        await terminal.answer_prompt("Integration URL: ", f"{sandbox.upstream('ORDERS')}metadata")
        await terminal.answer_prompt("Scope: ", "several https://a.oraclecloud.com")
        await terminal.wait_for_text("has several resources")
        await terminal.answer_prompt("Scope: ", sandbox.scope.replace("urn:", "/urn:", 1))
        await terminal.wait_for_text("removed the slash before `urn`")
        await terminal.answer_prompt("Route name [orders]: ", "")
        await terminal.answer_prompt("Path [/orders/]: ", "")
        await terminal.wait_for_text(
            f"Client ID: {sandbox.client_id}\n  Integration URL: {sandbox.upstream('ORDERS')}\n"
        )
        await terminal.answer_prompt("Are these values correct? (n goes back to the previous question) [Y/n] ", "")
        await terminal.answer_prompt("Secret file [./orders.secret]: ", "")
        await terminal.answer_prompt("Write it now, readable only by you? [Y/n] ", "")
        await terminal.answer_prompt("Client secret (hidden): ", sandbox.client_secret)
        await terminal.wait_for_text("wrote ./orders.secret")
        await terminal.wait_for_text("wrote gateway.yaml")
        await terminal.answer_prompt("Check it now with a real token and a real connection? [Y/n] ", "")
        assert await terminal.wait_exit() == 0, terminal.shown
    assert "ok   credential orders-app" in terminal.shown
    assert sandbox.client_secret not in terminal.shown
    secret_path = tmp_path / "orders.secret"
    assert secret_path.read_text() == sandbox.client_secret
    assert stat.S_IMODE(secret_path.stat().st_mode) == 0o600
    assert sandbox.client_secret not in (tmp_path / "gateway.yaml").read_text()
    checked = await run("check", "--live", "-c", tmp_path / "gateway.yaml")
    assert checked.status == 0, checked.out + checked.err


async def test_terminal_prompts_only_for_missing_flags(tmp_path: Path) -> None:
    options = flags(tmp_path, client_id=None, scope="", name="orders", path="/orders/")
    async with Terminal(tmp_path, "init", *options, "--no-live") as terminal:
        await terminal.answer_prompt("Client ID: ", "app-id")
        await terminal.wait_for_text("--scope: is empty")
        await terminal.answer_prompt("Scope: ", HASH)
        assert await terminal.wait_exit() == 0, terminal.shown
    assert "Domain URL" not in terminal.shown
    assert load(tmp_path / "gateway.yaml", environ={}).config.credentials["orders-app"].client_id == "app-id"


async def test_user_can_restrict_the_route_to_a_subpath(tmp_path: Path) -> None:
    options = flags(tmp_path, url=f"{ORDERS}orders/open", name="orders", path="/orders/")
    async with Terminal(tmp_path, "init", *options, "--no-live", "one.yaml") as terminal:
        await terminal.answer_prompt("Restrict the route to paths below /orders/open? [y/N] ", "y")
        assert await terminal.wait_exit() == 0, terminal.shown
    assert load(tmp_path / "one.yaml", environ={}).config.routes[0].upstream == f"{ORDERS}orders/open"
    async with Terminal(tmp_path, "init", *options, "--no-live", "two.yaml") as terminal:
        await terminal.answer_prompt("[y/N] ", "")
        assert await terminal.wait_exit() == 0, terminal.shown
    assert load(tmp_path / "two.yaml", environ={}).config.routes[0].upstream == ORDERS


async def test_user_can_overwrite_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    options = flags(tmp_path, name="orders", path="/orders/")
    for answer, status in (("", 78), ("perhaps\nn", 78), ("y", 0)):
        file.write_text("precious")
        async with Terminal(tmp_path, "init", *options, "--no-live") as terminal:
            await terminal.answer_prompt("Overwrite it? [y/N] ", answer)
            assert await terminal.wait_exit() == status, terminal.shown
        assert (file.read_text() == "precious") == (status == 78)


@pytest.mark.parametrize("key", ["\x03", "\x04"])
async def test_user_can_abort(tmp_path: Path, key: str) -> None:
    async with Terminal(tmp_path, "init") as terminal:
        await terminal.answer_prompt("Domain URL: ", IDENTITY)
        await terminal.wait_for_text("Client ID: ")
        ended = asyncio.create_task(terminal.wait_exit())
        while not ended.done():  # a key that comes just before the program waits for keys is read with the next one
            terminal.press_key(key)
            await asyncio.wait({ended}, timeout=1)
        assert await ended == 130
    assert "no configuration was written" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert names(tmp_path) == ["secret"]


async def test_yes_flag_disables_prompts(tmp_path: Path) -> None:
    async with Terminal(tmp_path, "init", *flags(tmp_path), "--yes") as terminal:
        assert await terminal.wait_exit() == 0, terminal.shown
    assert "?" not in terminal.shown
    assert (tmp_path / "gateway.yaml").exists()


async def test_writing_imports_neither_event_loop_nor_sandbox(tmp_path: Path) -> None:
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
async def test_secret_at_a_wrong_prompt_is_not_repeated(tmp_path: Path, secret: str) -> None:
    async with Terminal(tmp_path, "init", "--no-live") as terminal:
        await terminal.answer_prompt("Domain URL: ", secret)
        await terminal.wait_for_text("may be a client secret")
        await terminal.answer_prompt("Domain URL: ", IDENTITY)
        if secret != LIKELY_SECRETS[2]:  # an id of another server may look like that
            await terminal.answer_prompt("Client ID: ", f" {secret} ")
            await terminal.wait_for_text("is the client secret, not the id")
        await terminal.answer_prompt("Client ID: ", "an-id")
        await terminal.answer_prompt("Integration URL: ", secret)
        await terminal.wait_for_text("may be a client secret")
        await terminal.answer_prompt("Integration URL: ", ORDERS)
        await terminal.answer_prompt("Scope: ", secret)
        await terminal.wait_for_text("may be a client secret")
        await terminal.answer_prompt("Scope: ", HASH)
        await terminal.answer_prompt("Route name [orders]: ", secret)
        await terminal.wait_for_text("may be a client secret")
        await terminal.answer_prompt("Route name [orders]: ", "")
        await terminal.answer_prompt("Path [/orders/]: ", secret)
        await terminal.wait_for_text("may be a client secret")
        await terminal.wait_for_text("Path [/orders/]: ")
        terminal.press_key("\x04")
        assert await terminal.wait_exit() == 130
    times_typed = 5 if secret == LIKELY_SECRETS[2] else 6
    assert terminal.shown.count(secret) == times_typed  # the terminal echoes the input
    assert not (tmp_path / "gateway.yaml").exists()


async def test_user_can_go_back_to_earlier_questions(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a-secret")
    (tmp_path / "secret").chmod(0o600)
    options = ("--domain-url", IDENTITY, "--secret-file", "secret", "--no-live")
    async with Terminal(tmp_path, "init", *options) as terminal:
        await terminal.wait_for_text("Client ID: ")
        await terminal.wait_for_text("(type < to go back)")
        await terminal.answer_prompt("Client ID: ", "<")  # there is no earlier question: the same one again
        await terminal.answer_prompt("Client ID: ", "wrong-id")
        await terminal.answer_prompt("Integration URL: ", ORDERS)
        await terminal.answer_prompt("Scope: ", "<")
        await terminal.answer_prompt("Integration URL [", "<")
        await terminal.answer_prompt("Client ID [wrong-id]: ", "right-id")
        await terminal.answer_prompt("Integration URL [", "")
        await terminal.answer_prompt("Scope: ", HASH)
        await terminal.answer_prompt("Route name [orders]: ", "")
        await terminal.answer_prompt("Path [/orders/]: ", "/wrong/")
        await terminal.wait_for_text("  Client ID: right-id\n")
        await terminal.answer_prompt("Are these values correct? (n goes back to the previous question) [Y/n] ", "n")
        await terminal.answer_prompt("Path [/wrong/]: ", "/right/")
        await terminal.answer_prompt("Are these values correct? (n goes back to the previous question) [Y/n] ", "")
        assert await terminal.wait_exit() == 0, terminal.shown
    written = load(tmp_path / "gateway.yaml", environ={}).config
    assert [one.client_id for one in written.credentials.values()] == ["right-id"]
    assert [route.path for route in written.routes] == ["/right/"]
