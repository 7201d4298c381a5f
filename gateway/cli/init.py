"""The command `init`: write a first configuration, and offer to check it with real requests."""

import argparse
import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.cli.options import DEFAULT_FILE, NoSecret, run_coroutine
from gateway.config.load import ConfigProblems, Loaded, one_route
from gateway.config.model import Config
from gateway.config.resolved import listeners_of
from gateway.config.values import split_address
from gateway.content.untrusted_text import format_authority
from gateway.init.config_writer import write_config
from gateway.init.draft import Draft, render
from gateway.init.form import Form, fill_form
from gateway.init.terminal import Aborted, Back, Terminal, is_interactive, show

EXAMPLE = "oic-gateway init gateway.yaml"
EXIT_STATUS = {
    0: "the file is written; with --live it works",
    2: "options are missing and there is no terminal, or the command line is wrong",
    69: "the file is written, but a live check failed",
    78: "the file is not written",
    130: "aborted by the user",
}
_DONE, _USAGE, _UNAVAILABLE, _BAD_CONFIG, _INTERRUPTED = 0, 2, 69, 78, 130

# Option, name of the same option of `serve`, form of the value, meaning. Missing values are prompted for, except
# addresses.
_FLAGS = (
    ("--domain-url", "--token-url", "URL", "the identity domain: `Domain URL` in its console"),
    ("--client-id", "", "ID", "client id of the confidential application"),
    ("--secret-file", "--client-secret-file", "FILE", "file that contains the client secret"),
    ("--scope", "", "SCOPE", "scope of the token"),
    ("--url", "--upstream", "URL", "the integration: `Endpoint URL` in its console"),
    ("--name", "", "NAME", "name of the route; default: from the name of the integration"),
    ("--path", "", "PATH", "path of the route for callers; default: from the name"),
)
_ADDRESSES = (
    ("--listen", "HOST:PORT", "address for callers"),
    ("--admin", "HOST:PORT", "address of health, metrics and status"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    for flag, other, form, meaning in _FLAGS:
        parser.add_argument(*filter(None, (flag, other)), dest=flag, metavar=form, help=meaning)
    for flag, form, meaning in _ADDRESSES:
        parser.add_argument(flag, dest=flag, metavar=form, help=meaning)
    parser.add_argument(
        "--allow", metavar="CIDR", action="append", default=[], help="network of callers, in addition to this machine"
    )
    parser.add_argument(
        "--secret", "--client-secret", action=NoSecret, const="a file and --secret-file", help=argparse.SUPPRESS
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument("--yes", action="store_true", help="do not prompt")
    parser.add_argument(
        "--live", action=argparse.BooleanOptionalAction, help="check the written file with real requests"
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default=DEFAULT_FILE, help=f"default {DEFAULT_FILE}")


def run(options: argparse.Namespace) -> int:
    """Write the file. Return the exit status. Raise ConfigProblems if the loader rejects the values."""
    given: dict[str, str | None] = {flag: getattr(options, flag) for flag, *_ in _FLAGS}
    terminal = Terminal() if not options.yes and is_interactive() else None
    form = Form(given, terminal)
    if missing := form.missing():
        reason = "--yes disables prompts" if options.yes else "there is no terminal to prompt on"
        return _fail(f"oic-gateway init: {reason}; set {', '.join(missing)}", _USAGE)
    addresses = {flag[2:]: getattr(options, flag) for flag, *_ in _ADDRESSES if getattr(options, flag) is not None}
    _check_addresses(addresses, options.allow)
    file = Path(options.file)
    try:
        force = _may_overwrite(file, terminal, force=options.force)
        draft = fill_form(form, file, addresses=addresses, allow=options.allow)
        if draft is None:
            return _fail("\n".join(form.problems), _BAD_CONFIG)
        has_secret = Path(file.parent, draft.secret_file).exists()
        loaded = write_config(render(draft), file, environ=os.environ, force=force, check_secrets=has_secret)
    except (Back, Aborted, KeyboardInterrupt):
        return _fail("\nno configuration was written", _INTERRUPTED)
    except FileExistsError:
        return _fail(f"{file} exists; use --force to overwrite it", _BAD_CONFIG)
    except OSError as cause:
        return _fail(f"cannot write {file}: {cause.strerror}; name another file", _BAD_CONFIG)
    _show_next_steps(loaded, draft, file)
    is_live = _wants_live_check(terminal) if options.live is None else options.live
    return _check_live(loaded.config) if is_live else _DONE


def _check_addresses(addresses: dict[str, str], allow: Sequence[str]) -> None:
    """Check the addresses with the loader before the first prompt. Raise ConfigProblems that name the options."""
    try:
        one_route(
            upstream="https://oic.example/",
            token_url="https://idcs.example/",  # noqa: S106 - an address
            client_id="none",
            client_secret_env="NONE",  # noqa: S106 - the name of a variable that is not read here
            listen=addresses.get("listen"),
            admin=addresses.get("admin"),
            allow=allow,
        )
    except ConfigProblems as error:
        # The warnings are about the placeholders above.
        raise ConfigProblems([issue for issue in error.problems if issue.severity == "error"]) from error


def _may_overwrite(file: Path, terminal: Terminal | None, *, force: bool) -> bool:
    """Return True if the file exists and the user allows to overwrite it, False if it does not exist. Raise OSError if
    the path cannot be written, and FileExistsError if the user does not allow it.
    """
    if not file.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder does not exist")
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not os.path.lexists(file):
        return False
    if not force and not (terminal and terminal.confirm(f"{file} exists. Overwrite it?", default=False)):
        raise FileExistsError
    return True


def _show_next_steps(loaded: Loaded, draft: Draft, file: Path) -> None:
    for warning in loaded.warnings:
        if warning.path != "--secret-file":  # shown when the file was named
            sys.stderr.write(f"{warning}\n")
    name, listen = shlex.quote(str(file)), listeners_of(loaded.config)[0].address
    host, port = split_address(listen)
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    target = f"http://{format_authority(host, port)}"
    if listen.startswith("unix:"):
        target = f"--unix-socket {shlex.quote(host)} http://localhost"
    show(f"wrote {file}; next:")
    show(f"  oic-gateway check --live -c {name}")
    show(f"  oic-gateway serve -c {name}")
    show(f"  curl {target}{shlex.quote(draft.path)}")


def _check_live(config: Config) -> int:
    """Check with real requests, as `check --live` does."""
    from gateway.checks.run import run_checks  # noqa: PLC0415 - brings aiohttp; writing a file does not need it

    findings = run_coroutine(run_checks(config))
    for finding in findings:
        show(finding.text())
    return _DONE if all(finding.ok for finding in findings) else _UNAVAILABLE


def _wants_live_check(terminal: Terminal | None) -> bool:
    try:
        return terminal is not None and terminal.confirm(
            "Check it now with a real token and a real connection?", default=True
        )
    except (Back, Aborted):
        return False


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"{message}\n")
    return status
