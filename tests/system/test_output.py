"""What verbs print: in any encoding, and where standard output takes no more."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from tests.fakes.process import ROOT, Process, gateway, run
from tests.fakes.terminal import Terminal
from tests.fakes.waiting import TIME_LIMIT
from tests.system.scene import SECRETS, settings, written

ENCODINGS = ("ascii", "iso-8859-1", "cp1252", "utf-8")
FULL = ("sh", "-c", 'exec "$@" >/dev/full', "sh")
CLOSED = ("sh", "-c", 'exec "$@" >&-', "sh")
SILENT = ("sh", "-c", 'exec "$@" 2>&-', "sh")
MUTE = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")

# Verbs that print without a gateway; `-c FILE` is put behind them where `True`.
PRINTING = (
    (("schema",), False),
    (("--help",), False),
    (("--version",), False),
    (("init", "--help"), False),
    (("sandbox", "--mistake", "list"), False),
    (("probe", "--admin", "unix:/nowhere"), False),
    (("token", "app"), True),
    (("token", "app", "--claims"), True),
    (("check",), True),
    (("check", "--json"), True),
    (("check", "--live"), True),
)


@pytest.fixture
def file(tmp_path: Path, sandbox: Sandbox) -> Path:
    return written(tmp_path, settings(sandbox))


def words_of(words: tuple[str, ...], file: Path, *, has_file: bool) -> list[str | Path]:
    return [*words, *(("-c", file) if has_file else ())]


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_an_explanation_is_readable_in_any_encoding(file: Path, encoding: str) -> None:
    ended = await run("check", "--live", "-c", file, APP_SECRET="wrong-secret", PYTHONIOENCODING=encoding)
    assert ended.status == 69
    assert ended.err == ""
    arrow = "\u2192" if encoding == "utf-8" else "->"
    assert ended.out.count(f"\n     {arrow} ") == 2  # meaning, remedy


async def test_the_locale_c_is_no_trouble(file: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    ended = await run("check", "--live", "-c", file, APP_SECRET="wrong-secret", **locale)
    assert ended.status == 69
    assert " -> " in ended.out
    assert ended.err == ""


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_json_is_json_in_any_encoding(tmp_path: Path, sandbox: Sandbox, encoding: str) -> None:
    document = settings(sandbox)
    document["routes"][0]["credential"] = "\u00e9\u20ac\U0001f600"
    checked = await run(
        "check", "--json", "-c", written(tmp_path, document, "\u00e9\u20ac.yaml"), PYTHONIOENCODING=encoding, **SECRETS
    )
    assert checked.status == 78
    findings = json.loads(checked.out)["findings"]
    assert all("\u00e9\u20ac.yaml:" in finding["subject"] for finding in findings)
    schema = await run("schema", PYTHONIOENCODING=encoding)
    assert json.loads(schema.out) == json.loads((ROOT / "config" / "schema.json").read_text(encoding="utf-8"))


async def test_a_file_name_that_is_no_text_is_shown_escaped() -> None:
    ended = await run("check", "-c", os.fsdecode(b"/nowhere/\xff.yaml"))
    assert ended.status == 78
    assert ended.err.startswith("/nowhere/\\udcff.yaml: does not exist")


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_init_asks_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    async with Terminal(tmp_path, "init", PYTHONIOENCODING=encoding) as terminal:
        await terminal.answer_prompt("Domain URL: ", "https://console.example.oracle.com")
        await terminal.wait_for_text("is an address of the cloud console")
        await terminal.wait_for_text("Domain URL: ")
        terminal.type_line("https://idcs.example/\u20ac\u00ff")  # in bytes of UTF-8, whatever the encoding
        await terminal.wait_for_text("has a character that is not allowed in URLs")
        await terminal.wait_for_text("Domain URL: ")
        terminal.press_key("\x04")
        assert await terminal.wait_exit() == 130
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize(("words", "has_file"), PRINTING)
async def test_a_full_output_is_an_error(file: Path, words: tuple[str, ...], *, has_file: bool) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with Process(*words_of(words, file, has_file=has_file), **SECRETS).to(full) as process:
            assert await process.ended() == 74
    finally:
        os.close(full)
    assert process.err == b"oic-gateway: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(("words", "has_file"), PRINTING)
async def test_a_closed_output_is_an_error(file: Path, words: tuple[str, ...], *, has_file: bool) -> None:
    ended = await run(*words_of(words, file, has_file=has_file), under=CLOSED, **SECRETS)
    assert (ended.status, ended.out) == (74, "")
    assert ended.err == "oic-gateway: cannot write to standard output: Bad file descriptor\n"


@pytest.mark.parametrize(("words", "has_file"), PRINTING)
async def test_a_closed_pipe_ends_a_command_quietly(file: Path, words: tuple[str, ...], *, has_file: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        async with Process(*words_of(words, file, has_file=has_file), **SECRETS).to(writer) as process:
            assert await process.ended() == 141
    finally:
        os.close(writer)
    assert process.err == b""


@pytest.mark.parametrize("under", [SILENT, MUTE], ids=["closed", "full"])
async def test_unwritable_errors_leave_the_exit_status(under: tuple[str, ...]) -> None:
    assert (await run("check", "-c", "/nowhere", under=under)).status == 78
    assert (await run("serv", under=under)).status == 2


@pytest.mark.parametrize("workers", [1, 2])
async def test_serve_runs_without_standard_streams(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    document = settings(sandbox, admin=f"unix:{tmp_path}/admin", workers=workers)
    none = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    async with Process("serve", "-c", written(tmp_path, document), **SECRETS).under(none):
        async with asyncio.timeout(TIME_LIMIT):
            while (await run("probe", "--admin", f"unix:{tmp_path}/admin")).status:
                pass  # its socket is not there yet


async def test_a_probe_with_a_full_disk_fails(file: Path) -> None:
    async with gateway(file, **SECRETS) as gate:
        assert (await run("probe", "--admin", gate.admin, under=FULL)).status == 74
