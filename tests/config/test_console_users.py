"""The file of local users: its lines, and changes of it that keep the others."""

import pytest

from gateway.config.console_users import LocalUser, UnusableUsers, parse_users, with_user, without_user

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g"
ANN, BOB = f"ann:admin:{HASH}", f"bob@example.com:viewer:{HASH}"


def test_users_are_read_with_their_roles() -> None:
    users = parse_users(f"# the team\n\n{ANN}\n{BOB}\n")
    assert {name: user.role for name, user in users.items()} == {"ann": "admin", "bob@example.com": "viewer"}
    assert HASH not in repr(users)


@pytest.mark.parametrize(
    "line",
    [
        "ann", "ann:admin", f"ann:root:{HASH}", f":admin:{HASH}", f"a b:admin:{HASH}", "ann:admin:hunter2",
        f"ann:admin:{HASH.replace('argon2id', 'argon2i')}", f"ann:admin:{HASH}:x", f" ann:admin:{HASH}",
        "ann:admin:$2b$12$abcdefghijklmnopqrstuv",
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_and_not_shown(line: str) -> None:
    with pytest.raises(UnusableUsers, match="line 2") as error:
        parse_users(f"{BOB}\n{line}\n")
    assert line not in str(error.value)


def test_a_name_occurs_once() -> None:
    with pytest.raises(UnusableUsers, match="line 2 repeats a name"):
        parse_users(f"{ANN}\n{ANN}\n")


def test_a_change_keeps_all_other_lines() -> None:
    text = f"# the team\n{ANN}\n\n{BOB}"
    user = LocalUser("ann", "viewer", HASH)
    assert with_user(text, user) == f"# the team\nann:viewer:{HASH}\n\n{BOB}\n"
    assert with_user(text, LocalUser("eve", "admin", HASH)) == f"{text}\neve:admin:{HASH}\n"
    assert with_user("", user) == f"ann:viewer:{HASH}\n"
    assert without_user(text, "ann") == f"# the team\n\n{BOB}\n"
    assert without_user(text, "an") == f"{text}\n"
