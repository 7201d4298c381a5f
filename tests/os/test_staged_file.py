"""A file that is replaced in two steps, on a real file system."""

import os
from pathlib import Path

import pytest

from gateway.system.staged_file import StagedFile, keep_privately, lock_folders


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_bytes(b"old\n")
    file.chmod(0o640)
    os.utime(file, (1_000_000, 1_000_000))
    return file


def test_staging_proves_the_replacement_and_changes_nothing(file: Path) -> None:
    before = file.stat()
    staged = StagedFile(file)
    after = file.stat()
    assert after.st_ino != before.st_ino
    assert (file.read_bytes(), after.st_mode, after.st_mtime) == (b"old\n", before.st_mode, before.st_mtime)
    assert staged.temporary.stat().st_mode & 0o7777 == 0o600
    assert staged.temporary.stat().st_size > 0
    staged.discard()
    assert [*file.parent.iterdir()] == [file]


def test_publishing_keeps_mode_and_symbolic_link(file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to(file)
    staged = StagedFile(link)
    staged.write(b"new\n")
    assert file.read_bytes() == b"old\n"
    staged.publish()
    assert (file.read_bytes(), file.stat().st_mode & 0o7777) == (b"new\n", 0o640)
    assert link.is_symlink()
    assert {*file.parent.iterdir()} == {file, link}


def test_leftovers_of_a_killed_process_are_removed_on_request(file: Path) -> None:
    killed = StagedFile(file)
    staged = StagedFile(file)
    assert staged.leftovers == (killed.temporary,)
    staged.publish()
    staged.remove_leftovers()
    assert [*file.parent.iterdir()] == [file]


def test_a_folder_is_locked_by_one_at_a_time(file: Path) -> None:
    with lock_folders([file, file.parent / "other"]), pytest.raises(BlockingIOError), lock_folders([file]):
        pass
    with lock_folders([file]):
        pass


def test_content_is_kept_in_the_first_folder_that_takes_it(tmp_path: Path) -> None:
    kept = keep_privately(b"secret", [tmp_path / "missing", tmp_path], "app")
    assert kept is not None
    assert (kept.read_bytes(), kept.stat().st_mode & 0o7777) == (b"secret", 0o600)
    assert keep_privately(b"secret", [tmp_path / "missing"], "app") is None
