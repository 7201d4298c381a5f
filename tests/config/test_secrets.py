"""Secrets are read through their reference; a problem names the reference and never the secret."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config.model import SecretRef
from gateway.config.secrets import MAX_BYTES, SecretProblem, doubt, read, reader


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter2 ", " hunter2 "),
        (b"hunter2\r", "hunter2\r"),
        ("höhle".encode(), "höhle"),
        (b"x" * MAX_BYTES, "x" * MAX_BYTES),
    ],
)
def test_one_newline_at_the_end_of_a_file_is_left_off(tmp_path: Path, content: bytes, secret: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert read(SecretRef(file="secret"), environ={}, base=tmp_path).get_secret_value() == secret


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x" * (MAX_BYTES + 1), "is larger than 64 KiB"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(SecretProblem) as refused:
        read(SecretRef(file=str(file)), environ={})
    assert refused.value.what == f"the secret file `{file}` {what}"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(SecretProblem, match="is not a regular file"):
            read(SecretRef(file=f"{tmp_path}/{name}"), environ={})


def test_a_missing_or_unreachable_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SecretProblem, match=r"`.*/none` is missing; make it"):
        read(SecretRef(file="none"), environ={}, base=tmp_path)
    with pytest.raises(SecretProblem, match=r"cannot be read \(Not a directory\)"):
        read(SecretRef(file="file/none"), environ={}, base=tmp_path)


def test_a_variable_is_taken_as_it_is() -> None:
    assert read(SecretRef(env="NAME"), environ={"NAME": "hunter2\n"}).get_secret_value() == "hunter2\n"


@pytest.mark.parametrize(("environ", "what"), [({}, "is not set"), ({"NAME": ""}, "is empty")])
def test_a_variable_without_a_secret_is_refused_by_name(environ: dict[str, str], what: str) -> None:
    with pytest.raises(SecretProblem, match=f"the environment variable `NAME` {what}; set it"):
        read(SecretRef(env="NAME"), environ=environ)


def test_a_reader_sees_a_changed_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    give = reader(SecretRef(file=str(file)), environ={})
    file.write_text("old\n")
    assert give() == "old"
    file.write_text("new\n")
    assert give() == "new"
    file.unlink()
    with pytest.raises(OSError, match="is missing"):
        give()


def test_what_is_read_does_not_show_itself() -> None:
    assert "hunter2" not in repr(read(SecretRef(env="NAME"), environ={"NAME": "hunter2"}))


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("hunter2", ""),
        ("hun ter2", "has white space or a control character in it"),
        ("hun\0ter2", "has white space or a control character in it"),
        ("hunter2\n", "has white space at an end"),
        ("\thunter2", "has white space at an end"),
    ],
)
def test_white_space_is_doubtful(secret: str, said: str) -> None:
    assert doubt(SecretStr(secret)) == said
