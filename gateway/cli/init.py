"""The `init` verb: writes a first configuration, and offers to check it live."""

import argparse
import asyncio
import errno
import os
import shlex
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn

from gateway.config.load import Loaded, one_route
from gateway.config.model import Config
from gateway.init.config_writer import write
from gateway.init.draft import Draft, text_of
from gateway.init.form import Form, fill
from gateway.init.terminal import Aborted, Back, Terminal, is_there, show

_DONE, _USAGE, _UNAVAILABLE, _BAD_CONFIGURATION, _INTERRUPTED = 0, 2, 69, 78, 130

# Flag, the name of `serve` for the same, shape, meaning. All but the addresses are asked for where nobody says them.
_FLAGS = (
    ("--domain-url", "--token-url", "URL", "the identity domain, as its console says `Domain URL`"),
    ("--client-id", "", "ID", "client id of the confidential application"),
    ("--secret-file", "--client-secret-file", "FILE", "file that holds the client secret"),
    ("--scope", "", "SCOPE", "scope of the token"),
    ("--url", "--upstream", "URL", "the integration, as its console says `Endpoint URL`"),
    ("--name", "", "NAME", "name of the route; from the integration's, where omitted"),
    ("--path", "", "PATH", "where callers find it; from the name, where omitted"),
)
_ADDRESSES = (("--listen", "HOST:PORT", "where callers connect"), ("--admin", "HOST:PORT", "health, metrics, status"))

Work = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end; gives what it gives."""


class _NoSecret(argparse.Action):
    """Refuses a secret as a flag's value, where every process of the machine could read it; never shows it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.error("a command line is no place for a secret; put it into a file, and name that by --secret-file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the verb."""
    for flag, other, shape, meaning in _FLAGS:
        parser.add_argument(*filter(None, (flag, other)), dest=flag, metavar=shape, help=meaning)
    for flag, shape, meaning in _ADDRESSES:
        parser.add_argument(flag, dest=flag, metavar=shape, help=meaning)
    parser.add_argument(
        "--allow", metavar="CIDR", action="append", default=[], help="who may call, beside this machine"
    )
    parser.add_argument("--secret", "--client-secret", action=_NoSecret, help=argparse.SUPPRESS)
    parser.add_argument("--force", action="store_true", help="write over the file that is there")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--live", action=argparse.BooleanOptionalAction, help="check it live once it is written")
    parser.add_argument("file", metavar="FILE", nargs="?", default="gateway.yaml", help="default gateway.yaml")


def run(options: argparse.Namespace, *, work: Work = asyncio.run) -> int:
    """Runs the verb: 0 written (and found good, where checked), 2 flags are missing and nobody can be asked, 69 written
    but a live check failed, 78 not written, 130 the person left. Raises ConfigProblems where the loader refuses.
    """
    given: dict[str, str | None] = {flag: getattr(options, flag) for flag, *_ in _FLAGS}
    person = Terminal() if not options.yes and is_there() else None
    form = Form(given, person)
    if missing := form.missing():
        why = "with --yes it asks nothing" if options.yes else "there is no terminal to ask on"
        return _refused(f"oic-gateway init: {why}; say {', '.join(missing)}", _USAGE)
    addresses = {flag[2:]: getattr(options, flag) for flag, *_ in _ADDRESSES if getattr(options, flag) is not None}
    _judge(addresses, options.allow)
    file = Path(options.file)
    try:
        force = _may_replace(file, person, force=options.force)
        draft = fill(form, file, addresses=addresses, allow=options.allow)
        if draft is None:
            return _refused("\n".join(form.problems), _BAD_CONFIGURATION)
        loaded = write(
            text_of(draft), file, environ=os.environ, force=force, secret=Path(file.parent, draft.secret_file).exists()
        )
    except (Back, Aborted, KeyboardInterrupt):
        return _refused("\nno configuration was written", _INTERRUPTED)
    except FileExistsError:
        return _refused(f"{file} is there already; --force writes over it", _BAD_CONFIGURATION)
    except OSError as cause:
        return _refused(f"{file} cannot be written ({cause.strerror}); name another place", _BAD_CONFIGURATION)
    _tell(loaded, draft, file)
    live = _wants_live(person) if options.live is None else options.live
    return _checked(loaded.config, work) if live else _DONE


def _judge(addresses: dict[str, str], allow: Sequence[str]) -> None:
    """Has the loader look at the addresses before anything is asked; raises ConfigProblems, whose places are flags."""
    one_route(
        upstream="https://oic.example/",
        token_url="https://idcs.example/",  # noqa: S106 - an address
        client_id="none",
        client_secret_env="NONE",  # noqa: S106 - the name of a variable that nobody reads here
        listen=addresses.get("listen"),
        admin=addresses.get("admin"),
        allow=allow,
    )


def _may_replace(file: Path, person: Terminal | None, *, force: bool) -> bool:
    """Whether the person lets an existing file be written over. Raises OSError where nothing can be written there, and
    FileExistsError where nobody lets it.
    """
    if not file.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder")
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not os.path.lexists(file):
        return False
    if not force and not (person and person.confirm(f"{file} is there already. Write over it?", default=False)):
        raise FileExistsError
    return True


def _tell(loaded: Loaded, draft: Draft, file: Path) -> None:
    for warning in loaded.warnings:
        if warning.path != "--secret-file":  # said when it was named
            print(warning, file=sys.stderr)  # noqa: T201 - a verb speaks to the terminal
    name, listen = shlex.quote(str(file)), loaded.config.listen
    host, _, port = listen.rpartition(":")
    to = f"http://{'127.0.0.1' if host in {'0.0.0.0', '[::]'} else host}:{port}"  # noqa: S104 - compared, not bound
    if listen.startswith("unix:"):
        to = f"--unix-socket {shlex.quote(listen.removeprefix('unix:'))} http://localhost"
    show(f"wrote {file}; next:")
    show(f"  oic-gateway check --live -c {name}")
    show(f"  oic-gateway serve -c {name}")
    show(f"  curl {to}{shlex.quote(draft.path)}")


def _checked(config: Config, work: Work) -> int:
    """Asks identity domain and OIC, as `check --live` does."""
    from gateway.checks.run import check  # noqa: PLC0415 - brings aiohttp, which writing a file has no need of

    findings = work(check(config))
    for finding in findings:
        show(finding.text())
    return _DONE if all(finding.ok for finding in findings) else _UNAVAILABLE


def _wants_live(person: Terminal | None) -> bool:
    try:
        return person is not None and person.confirm(
            "Check it now, with a real token and a real connection?", default=True
        )
    except (Back, Aborted):
        return False


def _refused(told: str, status: int) -> int:
    print(told, file=sys.stderr)  # noqa: T201 - a verb speaks to the terminal
    return status
