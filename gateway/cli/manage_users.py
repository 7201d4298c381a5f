"""The command `user`: add, list and remove local users of the console."""

import argparse
import getpass
import sys
from pathlib import Path

from gateway.cli.options import NoSecret, load_if_found
from gateway.config.console_model import ROLES
from gateway.config.console_users import (
    LONGEST_PASSWORD,
    SHORTEST_PASSWORD,
    USER_NAME,
    LocalUser,
    UnusableUsers,
    read_users,
    with_user,
    without_user,
)
from gateway.config.issue import ConfigProblems, LocatedIssue
from gateway.config.references import CONSOLE_INSTALL, CONSOLE_MISSING, accepts_console_host_installed
from gateway.system.safe_write import edit_file

EXAMPLE = "oic-gateway user add ann --role operator -c gateway.yaml"
EXIT_STATUS = {
    0: "done",
    1: "there is no such user, or the password cannot be used",
    78: "the configuration names no file of users, or the file cannot be used",
}
_DONE, _NEGATIVE, _BAD_CONFIG = 0, 1, 78
_PASSWORD_REMEDY = "the prompt or standard input"  # noqa: S105 - where a password is read from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = ["add", "list", "remove"]
    parser.add_argument(
        "action", metavar="ACTION", choices=actions, nargs="?", default="list", help="add, list, remove"
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="the user; not for `list`")
    parser.add_argument("--role", choices=ROLES, help="role of the user to add; default viewer, or the present role")
    parser.add_argument("--users", metavar="FILE", help="file of users; default `console.users` of the configuration")
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration file")
    parser.add_argument("--password", action=NoSecret, const=_PASSWORD_REMEDY, help=argparse.SUPPRESS)
    parser.set_defaults(file=None)


def run(options: argparse.Namespace) -> int:
    """Do the action. Return the exit status. Raise ConfigProblems without a file of users."""
    path = _users_file(options)
    try:
        if options.action == "list":
            return _list(path)
        if options.name is None:
            return _fail("NAME is missing", 2)
        return _add(path, options) if options.action == "add" else _remove(path, options.name)
    except UnusableUsers as cause:
        return _fail(f"cannot use {path}: {cause}; correct the line", _BAD_CONFIG)
    except OSError as cause:
        return _fail(f"cannot use {path}: {cause.strerror or cause}", _BAD_CONFIG)


def _users_file(options: argparse.Namespace) -> Path:
    if options.users:
        return Path(options.users)
    config = load_if_found(options)
    if config is None or config.console is None or config.console.users is None:
        remedy = "set `console: {users: FILE}` in the configuration, or name the file with --users"
        raise ConfigProblems([LocatedIssue("", 0, "", "no file of users is configured", remedy)])
    return Path(config.console.users)


def _list(path: Path) -> int:
    users = read_users(path) if path.exists() else {}
    width = max(map(len, users), default=0)
    sys.stdout.write("".join(f"{user.name:<{width}}  {user.role}\n" for user in users.values()))
    return _DONE


def _add(path: Path, options: argparse.Namespace) -> int:
    if not USER_NAME.fullmatch(options.name):
        return _fail("the name needs up to 63 letters, digits, `.`, `_`, `-`, `@`, `+`", 2)
    present = read_users(path).get(options.name) if path.exists() else None
    if not accepts_console_host_installed():
        return _fail(f"the console {CONSOLE_MISSING}; {CONSOLE_INSTALL}", _BAD_CONFIG)
    password = _read_password()
    if password is None:
        return _NEGATIVE
    from gateway.console.user_directory import hash_password  # noqa: PLC0415 - its package may not be installed

    role = options.role or (present.role if present is not None else "viewer")
    user = LocalUser(options.name, role, hash_password(password))
    edit_file(path, lambda content: with_user(content.decode(), user).encode())
    done = "changed" if present is not None else "added"
    sys.stdout.write(f"{done} {user.name} as {role} in {path}\n")
    return _DONE


def _remove(path: Path, name: str) -> int:
    if not path.exists() or name not in read_users(path):
        return _fail(f"there is no user of that name in {path}", _NEGATIVE)
    edit_file(path, lambda content: without_user(content.decode(), name).encode())
    sys.stdout.write(f"removed {name} from {path}; the sessions of this user end now\n")
    return _DONE


def _read_password() -> str | None:
    """Return a new password from the terminal, where it is typed twice and not shown, else from the first line of
    standard input; None after an error message.
    """
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    try:
        password = getpass.getpass("Password: ") if is_terminal else sys.stdin.readline().rstrip("\r\n")
        repeated = getpass.getpass("Again: ") if is_terminal else password
    except (EOFError, UnicodeDecodeError):
        password = repeated = ""
    if password != repeated:
        _fail("the two passwords differ", _NEGATIVE)
        return None
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        _fail(f"the password needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters", _NEGATIVE)
        return None
    return password


def _fail(problem: str, status: int) -> int:
    sys.stderr.write(f"oic-gateway user: {problem}\n")
    return status
