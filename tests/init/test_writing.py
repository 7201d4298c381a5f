import os
import stat
from pathlib import Path

import pytest

from gateway.config.corrections.pasted_text import InvalidInput
from gateway.config.issue import ConfigProblems
from gateway.init.config_writer import as_written, keep_secret, look, write
from gateway.init.draft import Draft, text_of
from tests.fakes.process import run
from tests.system.test_read_only import READ_ONLY

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names() -> list[str]:
    return sorted(one.name for one in Path().iterdir())


def held(content: bytes, mode: int = 0o600) -> str:
    file = Path("secret")
    file.write_bytes(content)
    file.chmod(mode)
    return "secret"


def draft(**more: str) -> str:
    facts = {
        "token_url": "https://idcs.example/oauth2/v1/token",
        "client_id": "app",
        "secret_file": "secret",
        "scope": "orders",
        "upstream": "https://oic.example/ORDERS/1.0/",
        "name": "orders",
        "path": "/orders/",
    }
    return text_of(Draft(**(facts | more)))  # type: ignore[arg-type] # all that is given here is text


@pytest.mark.parametrize(
    ("content", "mode", "notes"),
    [
        (b"hunter2-hunter2", 0o600, []),
        (b"hunter2-hunter2", 0o640, []),
        (b"hunter2-hunter2\n", 0o600, ["the newline at the end"]),
        (b"hunter2-hunter2\r\n", 0o600, ["the newline at the end"]),
        (b"hunter2-hunter2", 0o644, ["every user of this machine"]),
        (b"hunter2-hunter2 \n", 0o644, ["has white space at an end", "the newline", "every user"]),
        (b" hunter2-hunter2", 0o600, ["has white space at an end"]),
        (b"hunter2 hunter2", 0o600, ["white space or a control character in it"]),
    ],
)
def test_what_is_in_the_secret_s_file_is_told_and_not_shown(content: bytes, mode: int, notes: list[str]) -> None:
    found = look(held(content, mode))
    assert (found.value, found.is_there) == ("secret", True)
    for said, note in zip(found.notes, notes, strict=True):
        assert note in said
        assert "hunter2" not in said
    assert Path("secret").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n", b"\xff\xfe", b"a" * 70_000])
def test_a_file_without_a_secret_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="; "):
        look(held(content))


def test_a_folder_and_a_lost_link_are_refused() -> None:
    Path("folder").mkdir()
    Path("link").symlink_to("nowhere")
    for name in ("folder", "link"):
        with pytest.raises(InvalidInput, match="does not do"):
            look(name)


def test_a_file_that_is_to_come_is_noted() -> None:
    found = look("./later")
    assert (found.value, found.is_there) == ("./later", False)
    assert "not there yet" in found.notes[0]
    with pytest.raises(InvalidInput, match="names no file"):
        look(SECRET)


async def test_a_home_that_there_is_not_is_told(tmp_path: Path) -> None:
    said = [
        "--domain-url",
        "https://idcs.example",
        "--client-id",
        "x",
        "--scope",
        "x",
        "--url",
        "https://oic.example/x",
    ]
    ended = await run("init", *said, "--secret-file", "~/secret", tmp_path / "gateway.yaml", under=READ_ONLY)
    assert ended.status == 78
    assert ended.err.endswith(
        "--secret-file: begins with `~`, but this user has no home folder; write the whole path\n"
    )


def test_a_secret_is_kept_for_its_user_alone() -> None:
    before = os.umask(0)
    try:
        keep_secret("./new", SECRET)
    finally:
        os.umask(before)
    file = Path("new")
    assert file.read_text() == SECRET
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not look("./new").notes


def test_a_file_that_is_there_is_never_written_over() -> None:
    held(b"other")
    with pytest.raises(InvalidInput, match="cannot be written"):
        keep_secret("secret", SECRET)
    with pytest.raises(InvalidInput, match="cannot be written"):
        keep_secret("nowhere/secret", SECRET)
    assert Path("secret").read_bytes() == b"other"


@pytest.mark.parametrize(
    ("secret", "config", "written"),
    [
        ("secret", "gateway.yaml", "secret"),
        ("./s/secret", "gateway.yaml", "s/secret"),
        ("conf/secret", "conf/gateway.yaml", "secret"),
        ("secret", "conf/gateway.yaml", "{here}/secret"),
        ("/run/secrets/a", "conf/gateway.yaml", "/run/secrets/a"),
    ],
)
def test_a_relative_file_counts_from_the_configuration_s_folder(
    tmp_path: Path, secret: str, config: str, written: str
) -> None:
    assert as_written(secret, Path(config)) == written.format(here=tmp_path)


def test_the_file_is_written_whole_for_all_to_read() -> None:
    held(b"hunter2")
    before = os.umask(0o077)
    try:
        loaded = write(draft(), Path("gateway.yaml"), environ={})
    finally:
        os.umask(before)
    file = Path("gateway.yaml")
    assert file.read_text() == draft()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert loaded.config.routes[0].name == "orders"
    assert names() == ["gateway.yaml", "secret"]


def test_a_file_that_is_there_is_written_over_only_by_force() -> None:
    held(b"hunter2")
    file = Path("gateway.yaml")
    file.write_text("precious")
    with pytest.raises(FileExistsError):
        write(draft(), file, environ={})
    assert file.read_text() == "precious"
    write(draft(), file, environ={}, force=True)
    assert file.read_text() == draft()
    assert names() == ["gateway.yaml", "secret"]


def test_what_the_loader_refuses_is_not_written_and_named_by_its_flag() -> None:
    with pytest.raises(ConfigProblems) as caught:
        write(draft(upstream="ftp://x", path="//"), Path("gateway.yaml"), environ={})
    assert {problem.path for problem in caught.value.problems} == {"--url", "--path", "--secret-file"}
    assert names() == []


def test_a_secret_that_is_to_come_may_be_missing() -> None:
    write(draft(), Path("gateway.yaml"), environ={}, secret=False)
    assert names() == ["gateway.yaml"]
