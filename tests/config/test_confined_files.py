"""Files in the folder of an included file are opened only there, whatever becomes a link after the check."""

import os
import pickle
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.system.confined_files import LeavesFolder, resolve_file
from gateway.system.confined_path import ConfinedPath, join_folder
from gateway.system.files import NotRegular, file_state, library_path, read_file
from gateway.wiring.outbound import client_tls_context
from tests.fakes.certificates import self_signed

OUTSIDE, INSIDE = b"outside", b"inside"
HOOKS: list[Callable[[str], None]] = []
"""Called with the name of each file or folder that is about to be opened."""


def on_audit_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and HOOKS and isinstance(arguments[0], str):
        hook = HOOKS.pop()
        hook(arguments[0])


sys.addaudithook(on_audit_event)


@pytest.fixture
def before_open() -> Iterator[list[Callable[[str], None]]]:
    """Take a function that is called before the next file or folder is opened."""
    yield HOOKS
    HOOKS.clear()


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """The folder of a team, and the same files outside."""
    for folder, content in ((tmp_path / "team", INSIDE), (tmp_path / "outside", OUTSIDE)):
        (folder / "secrets").mkdir(parents=True)
        for name in ("app", "secrets/app"):
            (folder / name).write_bytes(content)
    return tmp_path / "team"


def confined(team: Path, relative: str = "secrets/app", inner: str = "") -> ConfinedPath:
    return ConfinedPath(str(team / inner / relative), anchor=str(team), inner=inner, relative=relative)


def replace(path: Path, target: Path | str) -> None:
    """Replace a file or a folder by a link."""
    path.rename(path.with_name(f"former-{path.name}"))
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("secrets/app", "../../outside/app"),
        ("secrets", "../outside/secrets"),
        ("secrets", "{outside}/secrets"),
        ("secrets/app", "{team}/secrets/../../outside/app"),
        ("secrets/app", "/proc/self/cwd/../etc/hostname"),
    ],
)
def test_a_link_out_of_the_folder_is_never_opened(team: Path, link: str, target: str) -> None:
    path = confined(team)
    assert read_file(path, 10) == INSIDE
    replace(team / link, target.format(team=team, outside=team.parent / "outside"))
    remedy = f"`{path}` leads out of .*; replace the link by a file, or by a link to a file below `{team}`"
    with pytest.raises(LeavesFolder, match=remedy):
        read_file(path, 10)
    with pytest.raises(LeavesFolder), library_path(path):
        pass
    with pytest.raises(LeavesFolder):
        resolve_file(path)
    assert file_state(path) is None


@pytest.mark.parametrize("target", ["app", "../app", "../secrets/app", "{team}/app", "../../team/app"])
def test_a_link_that_stays_in_the_folder_is_followed(team: Path, target: str) -> None:
    (team / "secrets/link").symlink_to(target.format(team=team))
    assert read_file(confined(team, "secrets/link"), 10) == INSIDE
    assert file_state(confined(team, "secrets/link")) == file_state(confined(team, "secrets/link"))


def test_a_path_with_a_parent_segment_is_read_as_the_system_does(team: Path) -> None:
    (team / "deep/er").mkdir(parents=True)
    (team / "deep/app").write_bytes(b"deep")
    (team / "link").symlink_to("deep/er")
    assert read_file(confined(team, "link/../app"), 10) == b"deep"
    with pytest.raises(LeavesFolder):
        read_file(confined(team, "link/../../../outside/app"), 10)


def test_the_folder_that_the_operator_names_may_be_a_link(team: Path) -> None:
    """A release that is switched by a link, and a folder of a projected volume of Kubernetes."""
    (team.parent / "current").symlink_to("team")
    path = confined(team.parent / "current")
    assert read_file(path, 10) == INSIDE
    replace(team.parent / "current", "outside")
    assert read_file(path, 10) == OUTSIDE


def test_a_folder_that_a_wildcard_matches_must_not_become_a_link(team: Path) -> None:
    path = confined(team.parent, "app", inner="team/secrets")
    assert read_file(path, 10) == INSIDE
    replace(team / "secrets", "../outside/secrets")
    with pytest.raises(LeavesFolder):
        read_file(path, 10)
    (team / "secrets").unlink()
    (team / "secrets").symlink_to("former-secrets")
    with pytest.raises(LeavesFolder):
        read_file(path, 10)


@pytest.mark.parametrize("link", ["secrets", "secrets/app"])
def test_a_swap_between_check_and_open_is_refused(
    team: Path, link: str, before_open: list[Callable[[str], None]]
) -> None:
    outside, opened = team.parent / "outside" / link, list[str]()

    def swap(name: str) -> None:
        opened.append(name)
        replace(team / link, outside)

    before_open.append(swap)
    with pytest.raises(OSError, match="leads out of"):
        read_file(confined(team), 10)
    assert opened == [str(team)]  # the path was resolved before


@pytest.mark.parametrize("link", ["secrets", "secrets/app"])
def test_a_file_that_is_back_after_a_swap_is_read(
    team: Path, link: str, before_open: list[Callable[[str], None]]
) -> None:
    """A swap back and forth shows the file of the folder, never the other one."""

    def swap(_: str) -> None:
        replace(team / link, team.parent / "outside" / link)
        before_open.append(lambda _: swap_back())

    def swap_back() -> None:
        (team / link).unlink()
        (team / link).with_name(f"former-{Path(link).name}").rename(team / link)

    before_open.append(swap)
    assert read_file(confined(team), 10) == INSIDE


def test_a_config_map_that_is_replaced_meanwhile_is_read(team: Path, before_open: list[Callable[[str], None]]) -> None:
    for name in ("..1", "..2"):
        (team / name).mkdir()
        (team / name / "app").write_text(name, encoding="utf-8")
    (team / "..data").symlink_to("..1")
    (team / "linked").symlink_to("..data/app")

    def swap(_: str) -> None:
        (team / "..data_tmp").symlink_to("..2")
        (team / "..data_tmp").rename(team / "..data")
        (team / "..1/app").unlink()
        (team / "..1").rmdir()

    before_open.append(swap)
    assert read_file(confined(team, "linked"), 10) == b"..2"


def test_a_library_reads_what_was_opened(team: Path) -> None:
    self_signed(team / "ca.pem", is_ca=True)
    replace(team / "app", "ca.pem")
    with library_path(confined(team, "app")) as opened:
        (team / "app").unlink()
        (team / "app").symlink_to("../outside/app")
        context = ssl.create_default_context(cafile=opened)
    assert len(context.get_ca_certs()) == 1
    with pytest.raises(LeavesFolder):
        client_tls_context(confined(team, "app"))


def test_a_pipe_in_the_folder_is_refused_without_waiting(team: Path) -> None:
    os.mkfifo(team / "pipe")
    with pytest.raises(NotRegular):
        read_file(confined(team, "pipe"), 10)


def test_a_missing_file_is_missing_and_a_loop_ends(team: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(confined(team, "none"), 10)
    (team / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        read_file(confined(team, "loop"), 10)
    with pytest.raises(LeavesFolder):
        read_file(confined(team, "secrets/.."), 10)


def test_no_descriptor_stays_open(team: Path) -> None:
    (team / "secrets/link").symlink_to("../../outside/app")
    before = {*Path("/proc/self/fd").iterdir()}
    for relative in ("secrets/app", "secrets/link", "none", "secrets/app/none"):
        file_state(confined(team, relative))
    read_file(confined(team), 10)
    assert {*Path("/proc/self/fd").iterdir()} <= before


def test_a_confined_path_stays_one_in_another_process(team: Path) -> None:
    path = confined(team, inner="a")
    copy = pickle.loads(pickle.dumps(path))
    assert (copy, copy.anchor, copy.inner, copy.relative) == (path, path.anchor, path.inner, path.relative)
    assert join_folder(Path("/elsewhere"), copy) is copy
    assert join_folder(Path("/folder"), "file") == Path("/folder/file")
