"""Read a file, or flags, into a `Config`, and report all problems at once, each with its line, key and remedy.

`load` reads a file, `one_route` takes the flags of `serve`. Both validate with the model (`model`, texts in
`messages`) and across keys (`cross_checks`), and read each referenced file and secret once (`references`).
"""

import codecs
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config import messages
from gateway.config.cross_checks import cross_check
from gateway.config.issue import ConfigIssue, ConfigProblems, LocatedIssue, Steps, dotted_path
from gateway.config.model import Config
from gateway.config.otel_environment import resolve_telemetry
from gateway.config.references import check_references, referenced_variables
from gateway.config.yaml_document import UnreadableYaml, YamlDocument
from gateway.network.egress_proxy import ProxyEnvironment, UnusableProxy
from gateway.system.files import NotRegular, read_file

__all__ = ["ConfigProblems", "Loaded", "LocatedIssue", "load", "one_route"]

MAX_BYTES = 8 * 1024 * 1024

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


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of a configuration as it was read; `sha256` is the hash of its content in hexadecimal digits."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A usable configuration, its warnings and the files that it was read from. File paths in `config` are absolute.
    `sha256` is the hash of the contents of all files, one after the other; empty without a file.
    """

    config: Config
    warnings: tuple[LocatedIssue, ...] = ()
    files: tuple[ConfigFile, ...] = ()
    sha256: str = ""


def load(
    path: str | Path, *, environ: Mapping[str, str], check_secrets: bool = True, unused: Sequence[LocatedIssue] = ()
) -> Loaded:
    """Read and check a file; relative paths in it are relative to its folder.

    With `check_secrets`, also read each secret and certificate file once. `unused` are problems of environment
    variables, with the name as `path`; one that the file references as a secret is no problem. Raise ConfigProblems
    with every problem, and nothing else.
    """
    try:
        content = _read(path)
        document = YamlDocument(_decode(content))
    except UnreadableYaml as cause:
        raise ConfigProblems([*unused, _locate(cause.issue, str(path), cause.issue.line)]) from None
    config, issues = _validate(
        document.value, base=Path(path).parent.absolute(), environ=environ if check_secrets else None
    )
    issues = [*document.issues, *(issue for issue in issues if issue.steps not in document.broken)]
    problems = [_locate(issue, str(path), issue.line or document.line(issue.steps)) for issue in issues]
    if unused:
        variables = set(referenced_variables(document.value))
        problems += [problem for problem in unused if problem.path not in variables]
    if config is not None and check_secrets:
        problems += _environment_problems(config, environ)
    document.free()
    digest = hashlib.sha256(content).hexdigest()
    config, warnings = _usable(config, sorted(problems, key=lambda problem: problem.line))
    return Loaded(config, warnings, (ConfigFile(str(Path(path).absolute()), digest),), digest)


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


def _read(path: str | Path) -> bytes:
    try:
        content = read_file(path, MAX_BYTES + 1)
    except NotRegular:
        raise UnreadableYaml(0, "is not a regular file", "name a regular file, not a pipe or a device") from None
    except FileNotFoundError:
        raise UnreadableYaml(
            0, "does not exist", "create it (`oic-gateway init` writes a first one), or name another file"
        ) from None
    except (OSError, ValueError) as cause:  # ValueError: a NUL in the path
        reason = getattr(cause, "strerror", None) or "not a path"
        raise UnreadableYaml(0, f"cannot be read ({reason})", "change its permissions, or name another file") from None
    if len(content) > MAX_BYTES:
        raise UnreadableYaml(0, "is larger than 8 MiB", "name the right file, or shorten it")
    return content


def _decode(content: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark. Raise UnreadableYaml, which names the likely encoding."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\x00" in content[:2]:
        raise UnreadableYaml(1, "is UTF-16 or UTF-32 text, not UTF-8", "save the file as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = content.count(b"\n", 0, cause.start) + 1
        what = f"is not UTF-8 text: byte 0x{content[cause.start]:02X} may be ISO-8859-1"
        raise UnreadableYaml(line, what, "save the file as UTF-8") from None


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


def _environment_problems(config: Config, environ: Mapping[str, str]) -> list[LocatedIssue]:
    """Report unusable variables that the configuration needs, by their names: egress proxies, and `telemetry`."""
    telemetry, issues = resolve_telemetry(config.telemetry, environ)
    environment, fallback = ProxyEnvironment.from_environ(environ), config.defaults.proxy
    urls = [credential.token_url for credential in config.credentials.values() if credential.proxy is None]
    urls += [route.upstream for route in config.routes if (route.proxy or fallback) is None]
    if telemetry is not None and telemetry.settings.proxy is None:
        urls += [target.url for target in (telemetry.traces, telemetry.metrics) if target is not None]
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
