"""Read a file, or flags, into a `Config`, and report all problems at once, each with its line, key and remedy.

`load` reads a file, `one_route` takes the flags of `serve`. Both validate with the model (`model`, texts in
`messages`) and across keys (`cross_checks`), and read each referenced file and secret once (`references`).
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from gateway.config import messages
from gateway.config.cross_checks import cross_check
from gateway.config.include_rules import check_includes
from gateway.config.issue import ConfigIssue, ConfigProblems, LocatedIssue, Steps, dotted_path
from gateway.config.merged_tree import MergedTree
from gateway.config.model import Config
from gateway.config.references import check_references, referenced_variables
from gateway.config.source_reader import read_sources
from gateway.config.vault_environment import resolve_vault
from gateway.config.watched_files import WatchedFiles
from gateway.network.egress_proxy import ProxyEnvironment, UnusableProxy

__all__ = ["ConfigProblems", "Loaded", "LocatedIssue", "load", "one_route"]

_SETTINGS: dict[Steps, str] = {
    ("listen",): "listen",
    ("admin",): "admin",
    ("allow",): "allow",
    ("credentials", "default", "token_url"): "token_url",
    ("credentials", "default", "client_id"): "client_id",
    ("credentials", "default", "client_secret", "env"): "client_secret_env",
    ("credentials", "default", "client_secret"): "client_secret_file",
    ("credentials", "default", "scope"): "scope",
    ("routes", 0, "upstream"): "upstream",
}
"""By steps of a key: the argument of `one_route` that sets it."""


class ConfigFile(msgspec.Struct, frozen=True):
    """A file of a configuration as it was read; `sha256` is the hash of its content in hexadecimal digits."""

    path: str
    sha256: str


class Loaded(msgspec.Struct, frozen=True):
    """A usable configuration, its warnings and the files that it was read from. File paths in `config` are absolute.
    `sha256` is the hash of the contents of all files, one after the other; empty without a file.
    """

    config: Config
    warnings: tuple[LocatedIssue, ...] = ()
    files: tuple[ConfigFile, ...] = ()
    sha256: str = ""
    watched: WatchedFiles = msgspec.field(default_factory=WatchedFiles)
    positions: Mapping[str, tuple[str, int]] = msgspec.field(default_factory=dict)
    """File and line of each block, for the console; empty without one."""
    credential_scopes: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Scope of each credential of an included file: its owner, or else its file. All others are of the main file."""


class FileProblems(ConfigProblems):
    """The problems of a configuration file; `watched` are the files that were read."""

    def __init__(self, problems: Sequence[LocatedIssue], watched: WatchedFiles) -> None:
        super().__init__(problems)
        self.watched = watched


def load(
    path: str | Path, *, environ: Mapping[str, str], check_secrets: bool = True, unused: Sequence[LocatedIssue] = ()
) -> Loaded:
    """Read and check a file and those that it includes; relative paths in each are relative to its folder.

    With `check_secrets`, also read each secret and certificate file once. `unused` are problems of environment
    variables, with the name as `path`; one that the file references as a secret is no problem. Raise FileProblems with
    every problem, and nothing else.
    """
    sources = read_sources(path)
    if not sources.files:
        raise FileProblems([*unused, *sources.problems], sources.watched)
    tree = MergedTree(sources.files)
    references = environ if check_secrets else None
    config, issues = _validate(tree.value, base=Path(path).parent.absolute(), environ=references)
    scopes = tree.scopes("credentials")
    config = None if config is None else _with_file_scopes(config, tree)
    problems = [*sources.problems, *tree.problems]
    problems += [file.locate(issue) for file in sources.files for issue in file.document.issues]
    reported = {(problem.file, problem.line, problem.path) for problem in problems}
    found = itertools.chain.from_iterable(map(tree.locate, (*issues, *check_includes(tree))))
    problems += [problem for problem in found if (problem.file, problem.line, problem.path) not in reported]
    if unused:
        variables = set(referenced_variables(tree.value))
        problems += [problem for problem in unused if problem.path not in variables]
    if config is not None and check_secrets:
        problems += _environment_problems(config, environ)
    has_console = config is not None and config.console is not None
    positions = {name: (file, line) for name, file, line in tree.positions()} if has_console else {}
    for source in sources.files:
        source.document.free()
    order = {name: number for number, name in enumerate(["", *(file.name for file in sources.files)])}
    problems.sort(key=lambda problem: (order.get(problem.file, len(order)), problem.line))
    try:
        config, warnings = _usable(config, problems)
    except ConfigProblems as error:
        raise FileProblems(error.problems, sources.watched) from None
    files = tuple(ConfigFile(file.path, file.digest) for file in sources.files)
    return Loaded(config, warnings, files, sources.sha256, sources.watched, positions, scopes)


def one_route(
    *,
    upstream: str,
    token_url: str,
    client_id: str,
    client_secret_file: str | None = None,
    client_secret_env: str | None = None,
    scope: str | None = None,
    listen: str | Sequence[str] | None = None,
    admin: str | None = None,
    allow: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration without a file: one route `default` at `/` with one credential `default`.

    With `environ`, also read the secret once. Raise ConfigProblems whose paths are the `names` of the arguments, such
    as an environment variable; by default the option of the same name, such as `--upstream`.
    """
    credential = {"token_url": token_url, "client_id": client_id, "scope": scope}
    secret = {"file": client_secret_file, "env": client_secret_env}
    listeners = listen if listen is None or isinstance(listen, str) else [*listen]
    addresses = {key: value for key, value in (("listen", listeners), ("admin", admin)) if value is not None}
    tree = {
        **addresses,
        "allow": list(allow),
        "credentials": {"default": {**credential, "client_secret": secret}},
        "routes": [{"name": "default", "path": "/", "upstream": upstream, "credential": "default"}],
    }
    config, issues = _validate(tree, base=Path.cwd(), environ=environ)
    secret_steps = ("credentials", "default", "client_secret")
    if client_secret_file is None and client_secret_env is None:
        issues = _replace_issue(
            issues, ConfigIssue(secret_steps, "is missing", "name the file that holds the client secret")
        )
    if client_secret_file is not None and client_secret_env is not None:
        issues = _replace_issue(
            issues, ConfigIssue(secret_steps, "is set together with --client-secret-env", "remove one of them")
        )
    problems = [_locate_setting(issue, names or {}) for issue in issues]
    problems += [] if config is None or environ is None else _environment_problems(config, environ)
    return _usable(config, problems)[0]


def _replace_issue(issues: list[ConfigIssue], replacement: ConfigIssue) -> list[ConfigIssue]:
    return [replacement if issue.steps == replacement.steps else issue for issue in issues]


def _validate(
    tree: dict[str, Any], *, base: Path, environ: Mapping[str, str] | None
) -> tuple[Config | None, list[ConfigIssue]]:
    issues: list[ConfigIssue] = []
    config = None
    try:
        config = Config.model_validate(tree, context={"base": base})
    except ValidationError as error:
        issues += messages.config_issues(error)
    issues += cross_check(tree)
    if environ is not None:
        issues += check_references(tree, base=base, environ=environ)
    return config, issues


def _with_file_scopes(config: Config, tree: MergedTree) -> Config:
    """Return the configuration with the scope of its file in each credential, caller and route of an included file."""
    own, routes = tree.scopes("credentials"), tree.route_scopes()
    credentials = {name: config.credentials[name].with_file_scope(scope) for name, scope in own.items()}
    callers = {name: config.callers[name].with_file_scope(scope) for name, scope in tree.scopes("callers").items()}
    update = {
        "credentials": config.credentials | credentials,
        "callers": config.callers | callers,
        "routes": [
            route.with_file_scope(routes[index]) if index in routes else route
            for index, route in enumerate(config.routes)
        ],
    }
    return config.model_copy(update=update)


def _environment_problems(config: Config, environ: Mapping[str, str]) -> list[LocatedIssue]:
    """Report unusable variables that the configuration needs, by their names: egress proxies, and `telemetry`."""
    telemetry, issues = None, list[LocatedIssue]()
    if config.telemetry is not None:
        from gateway.config.otel_environment import resolve_telemetry  # noqa: PLC0415 - only with `telemetry`

        telemetry, issues = resolve_telemetry(config.telemetry, environ)
    environment, fallback = ProxyEnvironment.from_environ(environ), config.defaults.proxy
    urls = [credential.token_url for credential in config.credentials.values() if credential.proxy is None]
    urls += [route.upstream for route in config.routes if (route.proxy or fallback) is None]
    if telemetry is not None and telemetry.settings.proxy is None:
        urls += [target.url for target in (telemetry.traces, telemetry.metrics) if target is not None]
    if config.vault.proxy is None and (vault_url := resolve_vault(config.vault, environ).url) is not None:
        urls.append(vault_url)
    sign_in = config.console.sign_in if config.console is not None else None
    urls += [sign_in.issuer] if sign_in is not None and sign_in.proxy is None else []
    try:
        for url in urls:
            environment.proxy_for(url)
    except UnusableProxy as error:
        remedy = f"{error.remedy}, or exempt the hosts of OIC by NO_PROXY"
        issues.append(LocatedIssue("", 0, error.variable, error.problem, remedy))
    return issues


def _locate(issue: ConfigIssue, file: str, line: int) -> LocatedIssue:
    return LocatedIssue(file, line, dotted_path(issue.steps), issue.what, issue.remedy, issue.severity)


def _locate_setting(issue: ConfigIssue, names: Mapping[str, str]) -> LocatedIssue:
    steps = issue.steps
    while steps and steps not in _SETTINGS:
        steps = steps[:-1]
    setting = _SETTINGS.get(steps)
    flag = f"--{setting.replace('_', '-')}" if setting else dotted_path(issue.steps)
    name = names.get(setting or "", flag)
    return LocatedIssue("", 0, name, issue.what, issue.remedy, issue.severity)


def _usable(config: Config | None, problems: list[LocatedIssue]) -> tuple[Config, tuple[LocatedIssue, ...]]:
    """Return the configuration and its warnings. Raise ConfigProblems if there is an error."""
    if config is None or any(problem.severity == "error" for problem in problems):
        raise ConfigProblems(problems)
    return config, tuple(problems)
