import os
import stat
from pathlib import Path

import pytest

from gateway.config.corrections.pasted_text import InvalidInput
from gateway.config.issue import ConfigProblems
from gateway.init.config_writer import path_in_config, read_secret_file, write_config, write_secret_file
from gateway.init.draft import Draft, render
from tests.fakes.process import run
from tests.system.test_read_only import READ_ONLY

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names() -> list[str]:
    return sorted(one.name for one in Path().iterdir())


def secret_file_with(content: bytes, mode: int = 0o600) -> str:
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
    return render(Draft(**(facts | more)))  # type: ignore[arg-type] # all given values are text


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
def test_notes_describe_the_secret_without_its_text(content: bytes, mode: int, notes: list[str]) -> None:
    found = read_secret_file(secret_file_with(content, mode))
    assert (found.value, found.exists) == ("secret", True)
    for shown, note in zip(found.notes, notes, strict=True):
        assert note in shown
        assert "hunter2" not in shown
    assert Path("secret").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n", b"\xff\xfe", b"a" * 70_000])
def test_file_without_a_secret_is_rejected(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="; "):
        read_secret_file(secret_file_with(content))


def test_folder_and_broken_link_are_rejected() -> None:
    Path("folder").mkdir()
    Path("link").symlink_to("nowhere")
    for name in ("folder", "link"):
        with pytest.raises(InvalidInput, match="cannot be used"):
            read_secret_file(name)


def test_missing_secret_file_gives_a_note() -> None:
    found = read_secret_file("./later")
    assert (found.value, found.exists) == ("./later", False)
    assert "does not exist" in found.notes[0]
    with pytest.raises(InvalidInput, match="names no file"):
        read_secret_file(SECRET)


async def test_missing_home_folder_is_reported(tmp_path: Path) -> None:
    flags = [
        "--domain-url",
        "https://idcs.example",
        "--client-id",
        "x",
        "--scope",
        "x",
        "--url",
        "https://oic.example/x",
    ]
    ended = await run("init", *flags, "--secret-file", "~/secret", tmp_path / "gateway.yaml", under=READ_ONLY)
    assert ended.status == 78
    assert ended.err.endswith(
        "--secret-file: begins with `~`, but this user has no home folder; write the absolute path\n"
    )


def test_new_secret_file_is_private() -> None:
    before = os.umask(0)
    try:
        write_secret_file("./new", SECRET)
    finally:
        os.umask(before)
    file = Path("new")
    assert file.read_text() == SECRET
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not read_secret_file("./new").notes


def test_existing_secret_file_is_never_overwritten() -> None:
    secret_file_with(b"other")
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_secret_file("secret", SECRET)
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_secret_file("nowhere/secret", SECRET)
    assert Path("secret").read_bytes() == b"other"


@pytest.mark.parametrize(
    ("secret", "config", "written"),
    [
        ("secret", "gateway.yaml", "secret"),
        ("./s/secret", "gateway.yaml", "s/secret"),
        ("conf/secret", "conf/gateway.yaml", "secret"),
        ("secret", "conf/gateway.yaml", "{folder}/secret"),
        ("/run/secrets/a", "conf/gateway.yaml", "/run/secrets/a"),
    ],
)
def test_relative_secret_path_starts_at_the_config_folder(
    tmp_path: Path, secret: str, config: str, written: str
) -> None:
    assert path_in_config(secret, Path(config)) == written.format(folder=tmp_path)


def test_config_is_written_whole_and_readable_by_all() -> None:
    secret_file_with(b"hunter2")
    before = os.umask(0o077)
    try:
        loaded = write_config(draft(), Path("gateway.yaml"), environ={})
    finally:
        os.umask(before)
    file = Path("gateway.yaml")
    assert file.read_text() == draft()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert loaded.config.routes[0].name == "orders"
    assert names() == ["gateway.yaml", "secret"]


def test_existing_config_is_overwritten_only_by_force() -> None:
    secret_file_with(b"hunter2")
    file = Path("gateway.yaml")
    file.write_text("precious")
    with pytest.raises(FileExistsError):
        write_config(draft(), file, environ={})
    assert file.read_text() == "precious"
    write_config(draft(), file, environ={}, force=True)
    assert file.read_text() == draft()
    assert names() == ["gateway.yaml", "secret"]


def test_loader_problems_name_flags_and_prevent_the_write() -> None:
    with pytest.raises(ConfigProblems) as caught:
        write_config(draft(upstream="ftp://x", path="//"), Path("gateway.yaml"), environ={})
    assert {problem.path for problem in caught.value.problems} == {"--url", "--path", "--secret-file"}
    assert names() == []


def test_config_can_be_written_before_its_secret_file() -> None:
    write_config(draft(), Path("gateway.yaml"), environ={}, check_secrets=False)
    assert names() == ["gateway.yaml"]
