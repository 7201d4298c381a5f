"""The sandbox plays each set-up mistake: `check --live` finds it in the printed configuration, and nothing else."""

import asyncio
import json
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.main import main
from gateway.diagnosis.catalog import MISTAKES as KNOWN
from gateway.sandbox import DEFAULT_SECRET
from gateway.sandbox.mistakes import MISTAKES, code_of, list_mistakes
from gateway.sandbox.scenario import CONFIG, run_mistake
from tests.fakes.process import ROOT, Process, run

DOCUMENT = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")

# By code: why no configuration in front of the sandbox shows it to a check.
UNPLAYED = {
    "role-or-allow-list": "at run time, in place of what a check tells apart",
    "budget": "the gateway's own, for more requests than a check makes",
    "superseded": "a race between gateways",
    "turn": "a race between gateways",
    "secret": "a check finds it in the configuration; later, when a file goes",
    "certificate": "a check finds it in the configuration; later, when a file goes",
    "url": "a check finds it in the configuration",
    "request": "a check finds it in the configuration",
    "overloaded": "shows at callers' requests only",
    "too-many-requests": "shows at callers' requests only",
    "upstream-down": "shows at callers' requests only",
    "media-type": "shows at a caller's request only",
    "out-of-time": "the check's own, after ninety seconds",
    "not-tried": "follows from others, and is no failure",
}

STATUSES = {"configuration": 78, "unknown-url": 0}

# The mistakes that people make, and those that play them.
MADE = {
    "application not activated": ["invalid_client/inactive"],
    "grant not ticked": ["unauthorized_client"],
    "wrong secret": ["invalid_client"],
    "secret with white space or a trailing newline": ["secret-blank", "secret-blank/quotes"],
    "scope with a slash before urn": ["scope-slash"],
    "scope of another instance": ["other-instance"],
    "several resources at once": ["scope-several", "several-resources"],
    "role not granted": ["role-missing", "role-missing/403", "role-missing/developer"],
    "classic URL for a project integration": ["classic-url"],
    "wrong major version": ["wrong-version"],
    "developer API on the runtime host, without integrationInstance": ["developer-host", "developer-instance"],
    "clock skew": ["clock-skew"],
    "certificate chain, TLS inspection proxy": ["tls-trust", "tls-inspection", "tls-name", "tls-expired"],
    "DNS": ["dns"],
    "egress proxy": ["proxy", "proxy-login"],
    "allow-list": ["allow-list", "allow-list/reset"],
    "Free domain's 150 tokens a minute": ["limited"],
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_the_check_finds_the_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    async with run_mistake(name, tmp_path) as (_, config):
        assert (tmp_path / CONFIG).read_text(encoding="utf-8") == config
        words = ["check", "--live", "--json", "-c", str(tmp_path / CONFIG)]
        status = await asyncio.to_thread(main, words)
    out = capsys.readouterr().out
    codes = {finding["code"] for finding in json.loads(out)["findings"]} - {"", "not-tried"}
    assert codes == {code_of(name), *MISTAKES[name].follows}
    assert status == STATUSES.get(code_of(name), 69)
    for secret in (MISTAKES[name].secret, *filter(None, MISTAKES[name].files.values())):
        assert secret.strip('" \n') not in config


@pytest.mark.parametrize("name", ["role-missing", "tls-name", "dns"])
async def test_the_same_configuration_is_good_without_the_mistake(tmp_path: Path, name: str) -> None:
    """What is wrong is the mistake alone: with its switches back at their defaults the check finds nothing."""
    healthy = {"roles": ("ServiceInvoker",), "certificate": "trusted", "unknown_host": False}
    async with run_mistake(name, tmp_path, more=healthy):
        assert await asyncio.to_thread(main, ["check", "--live", "--json", "-c", str(tmp_path / CONFIG)]) == 0


def test_every_code_is_played_or_cannot_be() -> None:
    assert {code_of(name) for name in MISTAKES} | set(UNPLAYED) == set(KNOWN)
    assert {code_of(name) for name in MISTAKES} & set(UNPLAYED) == set()
    assert {code for row in MISTAKES.values() for code in row.follows} <= set(KNOWN)


@pytest.mark.parametrize("mistake", MADE)
def test_every_mistake_that_people_make_is_played(mistake: str) -> None:
    assert set(MADE[mistake]) <= set(MISTAKES)


def test_a_code_alone_is_one_of_its_mistakes() -> None:
    assert {code_of(name) for name in MISTAKES} <= set(MISTAKES)


def test_the_document_lists_every_mistake_as_it_is_played() -> None:
    table = DOCUMENT.partition("| mistake | what the sandbox reproduces |")[2].partition("\n#")[0]
    rows = re.findall(r"(?m)^\| `([^`]+)` \| ([^|]+) \|$", table)
    assert rows == [(name, row.summary) for name, row in MISTAKES.items()]


# The verb -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["secret-blank/quotes", "tls-expired"])
async def test_the_verb_plays_it_with_all_its_files(name: str) -> None:
    async with run_scenario("--mistake", name) as (_, file, _):
        assert {stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()} == {0o600}
        ended = await run("check", "--live", "--json", "-c", file)
    assert ended.status == 69
    assert {row["code"] for row in json.loads(ended.out)["findings"] if not row["ok"]} == {code_of(name)}
    assert not file.parent.exists()


async def test_a_given_folder_is_made_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "further" / "down"
    async with run_scenario("--mistake", "client-key", "--folder", str(folder)) as (_, file, config):
        key = config["credentials"]["sandbox"]["signing"]["private_key"]["file"]
        assert (file, Path(key)) == (folder / CONFIG, folder / "client-key.pem")
    assert {file.name for file in folder.iterdir()} == {CONFIG, "client-key.pem", "client-secret"}


async def test_a_folder_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = await run("sandbox", "--listen", "127.0.0.1:0", "--folder", tmp_path / "file")
    assert ended.status == 69
    assert f"cannot use {tmp_path / 'file'}: " in ended.err


async def test_a_switch_counts_more_than_the_mistake() -> None:
    async with run_scenario("--mistake", "role-missing", "--set", "roles=ServiceInvoker") as (_, file, _):
        assert (await run("check", "--live", "-c", file)).status == 0


async def test_list_prints_all_with_a_line_each() -> None:
    ended = await run("sandbox", "--mistake", "list")
    assert (ended.status, ended.out, ended.err) == (0, list_mistakes(), "")
    lines = [re.split(r" {2,}", line) for line in ended.out.splitlines()]
    assert lines == [[name, row.summary] for name, row in MISTAKES.items()]


async def test_an_unknown_one_is_answered_with_the_list() -> None:
    ended = await run("sandbox", "--mistake", "role-mising")
    assert (ended.status, ended.out) == (2, "")
    assert f"there is no mistake 'role-mising'; the mistakes are\n{list_mistakes()}" in ended.err


async def test_https_with_a_good_certificate_is_for_development(tmp_path: Path) -> None:
    words = ("--listen", "127.0.0.1:0", "--set", "certificate=trusted", "--folder", str(tmp_path))
    async with Process("sandbox", *words) as box:
        await box.until(lambda: box.out.endswith(b"/flows/soap/HELLO/1.0/\n    credential: sandbox\n"))
        config = yaml.safe_load(bytes(box.out))
        parts = (*config["credentials"].values(), config["defaults"])
        assert [part["tls"] for part in parts] == [{"ca": str(tmp_path / "sandbox-ca.pem")}] * 3
        assert config["credentials"]["sandbox"]["token_url"].startswith("https://127.0.0.1:")
        file = tmp_path / "mine.yaml"
        file.write_bytes(bytes(box.out))
        ended = await run("check", "--live", "-c", file, OIC_SANDBOX_SECRET=DEFAULT_SECRET)
    assert (ended.status, ended.err) == (0, "")
    assert f"{file}: OK: 12 routes, 2 credentials" in ended.out


@asynccontextmanager
async def run_scenario(*words: str) -> AsyncIterator[tuple[Process, Path, dict[str, Any]]]:
    """The verb with a mistake, on any port, once all is printed: also where its configuration stands, and that read."""
    async with Process("sandbox", "--listen", "127.0.0.1:0", *words) as box:
        await box.until(lambda: (file := written_by(box)) is not None and file.read_bytes() == bytes(box.out))
        file = written_by(box)
        assert file is not None
        yield box, file, yaml.safe_load(bytes(box.out))


def written_by(box: Process) -> Path | None:
    found = re.search(r"(?m)^#   oic-gateway check --live -c (\S+)$", box.output_text())
    return Path(found[1]) if found else None
