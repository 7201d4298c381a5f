"""The command `user`: the file that it writes, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.console_users import read_users
from tests.fakes.process import ROOT
from tests.fakes.terminal import Terminal

PASSWORD = "correct horse battery"


def user(*words: str, password: str = "") -> tuple[int, str, str]:
    """Run the command with a line on standard input."""
    command = (sys.executable, "-m", "gateway", "user", *words)
    done = subprocess.run(command, input=f"{password}\n", capture_output=True, check=False, text=True, cwd=ROOT)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users"


def test_users_are_added_listed_changed_and_removed(tmp_path: Path, file: Path) -> None:
    here = ("--users", str(file))
    assert user("list", *here) == (0, "", "")
    added = user("add", "ann", "--role", "operator", *here, password=PASSWORD)
    assert added == (0, f"added ann as operator in {file}\n", "")
    assert file.stat().st_mode & 0o777 == 0o600
    first = read_users(file)["ann"]
    assert PASSWORD not in file.read_text()
    assert first.password_hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert user("add", "bob", *here, password=PASSWORD)[0] == 0
    assert user("list", *here)[1] == "ann  operator\nbob  viewer\n"
    changed = user("add", "ann", *here, password=f"{PASSWORD} staple")
    assert changed == (0, f"changed ann as operator in {file}\n", "")
    assert read_users(file)["ann"].password_hash != first.password_hash
    assert user("remove", "ann", *here)[0] == 0
    assert list(read_users(file)) == ["bob"]
    assert user("remove", "ann", *here)[0] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["users"]


def test_the_configuration_names_the_file(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "console: {users: people}\n"
        "credentials: {a: {token_url: https://idcs.example/token, client_id: x, client_secret: {env: NOT_SET}}}\n"
        "routes: [{name: o, path: /, upstream: https://oic.example/, credential: a}]\n"
    )
    assert user("add", "ann", "-c", str(config), password=PASSWORD)[0] == 0
    assert list(read_users(tmp_path / "people")) == ["ann"]
    config.write_text(config.read_text().replace("{users: people}", "{}"))
    status, _, err = user("list", "-c", str(config))
    assert status == 78
    assert err.startswith("no file of users is configured; set `console: {users: FILE}` in the configuration")


@pytest.mark.parametrize(
    ("words", "password", "status", "message"),
    [
        (("add", "ann"), "short", 1, "the password needs 12 to 1024 characters"),
        (("add", "ann"), "", 1, "the password needs 12 to 1024 characters"),
        (("add", "a:b"), PASSWORD, 2, "the name needs"),
        (("add",), PASSWORD, 2, "NAME is missing"),
        (("add", "ann", "--role", "root"), PASSWORD, 2, "invalid choice"),
        (("add", "ann", "--password", PASSWORD), "", 2, "do not write a secret there"),
    ],
)
def test_wrong_input_changes_nothing(
    file: Path, words: tuple[str, ...], password: str, status: int, message: str
) -> None:
    found = user(*words, "--users", str(file), password=password)
    assert found[0] == status
    assert message in found[2]
    assert PASSWORD not in found[1] + found[2]
    assert not file.exists()


def test_a_broken_file_is_not_overwritten(file: Path) -> None:
    file.write_text("nonsense\n")
    status, _, err = user("add", "ann", "--users", str(file), password=PASSWORD)
    assert (status, err) == (
        78,
        f"oic-gateway user: cannot use {file}: line 1 is not NAME:ROLE:HASH with an argon2id hash; correct the line\n",
    )
    assert file.read_text() == "nonsense\n"


def test_simultaneous_changes_are_all_kept(file: Path) -> None:
    names = [f"user{index}" for index in range(4)]
    commands = [(sys.executable, "-m", "gateway", "user", "add", name, "--users", str(file)) for name in names]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, text=True) for command in commands]
    for process in running:
        process.communicate(PASSWORD)
    assert [process.returncode for process in running] == [0] * len(names)
    assert sorted(read_users(file)) == names


async def test_a_password_is_typed_twice_and_not_shown(tmp_path: Path) -> None:
    async with Terminal(tmp_path, "user", "add", "ann", "--users", "users") as terminal:
        await terminal.answer_prompt("Password: ", PASSWORD)
        await terminal.answer_prompt("Again: ", f"{PASSWORD}x")
        assert await terminal.wait_exit() == 1
        assert "the two passwords differ" in terminal.shown
        assert PASSWORD not in terminal.shown
        assert "added" not in terminal.shown
