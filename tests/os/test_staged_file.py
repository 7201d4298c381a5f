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


def test_only_complete_new_content_of_a_killed_process_is_found(file: Path) -> None:
    StagedFile(file)  # killed: room is reserved
    for name, content in {"copy": b"old\n", "part": b"ol", "empty": b"", "begun": b"new\n\0\0"}.items():
        (file.parent / f".secret.rotation-{name}").write_bytes(content)
    (file.parent / ".secret.rotation-folder").mkdir()
    staged = StagedFile(file)
    assert staged.find_unpublished() is None
    staged.discard()
    for name, time in {"a": 3, "b": 9, "c": 6}.items():
        leftover = file.parent / f".secret.rotation-{name}"
        leftover.write_bytes(b"new-" + name.encode())
        os.utime(leftover, (time, time))
    assert StagedFile(file).find_unpublished() == file.parent / ".secret.rotation-b"


def test_leftovers_are_found_for_any_file_name(tmp_path: Path) -> None:
    file = tmp_path / "secret[1]*"
    file.write_bytes(b"old\n")
    killed = StagedFile(file)
    (tmp_path / ".secret1x.rotation-of-another").write_bytes(b"other\n")
    assert StagedFile(file).leftovers == (killed.temporary,)


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
