"""Collect the values of the first configuration: each from its flag, else from the user, else from a default.

All problems of the flags are reported at once. Each correction is displayed when the value is read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from gateway.config.corrections.client_secret import client_id, refuse_secret
from gateway.config.corrections.identity_domain import token_url
from gateway.config.corrections.integration_url import UNKNOWN, Integration, integration
from gateway.config.corrections.pasted_scope import scope
from gateway.config.corrections.pasted_text import Corrected, InvalidInput
from gateway.init.config_writer import SecretFile, path_in_config, read_secret_file, write_secret_file
from gateway.init.draft import Draft
from gateway.init.route_naming import default_name, route_name, route_path
from gateway.init.terminal import Back, Question, Terminal, show
from gateway.oic.urls import is_identity_domain

_OAUTH = "the domain's Integrated applications, your confidential application, OAuth configuration"
DOMAIN = Question(
    "--domain-url",
    "Domain URL",
    "in the cloud console Identity & Security, Domains, your domain",
    "https://idcs-0123456789abcdef0123456789abcdef.identity.oraclecloud.com:443",
)
CLIENT = Question("--client-id", "Client ID", f"{_OAUTH}, General information", "7f0e6a5c4b3d2e1f0a9b8c7d6e5f4a3b")
URL = Question(
    "--url",
    "Integration URL",
    "the `Endpoint URL` of the activated integration (Run in its Actions menu; in Gen 2 its Details icon)",
    "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com/ic/api/integration/v1/flows/rest/ORDERS/1.0/metadata",
)
SCOPE = Question(
    "--scope",
    "Scope",
    f"{_OAUTH}, Resources",
    "https://0123456789ABCDEF0123456789ABCDEF.integration.us-phoenix-1.ocp.oraclecloud.com:443"
    "urn:opc:resource:consumer::all",
)
NAME = Question("--name", "Route name", "name of the route in logs, metrics and messages")
PATH = Question("--path", "Path", "path of the integration at the gateway, for callers")
SECRET = Question("--secret-file", "Secret file", "the file that holds the client secret, not the secret itself")

REQUIRED = (DOMAIN, CLIENT, SECRET, SCOPE, URL)
"""Values without a default."""

_REVIEW = Question("", "", "")
_MIN_ANSWERS = 3
"""With fewer answers, the review before the file is written is omitted."""
_HIDDEN_PROMPT = "Client secret (hidden): "


class _Result(Protocol):
    """The result of a correction."""

    @property
    def value(self) -> str: ...
    @property
    def changes(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


Result = TypeVar("Result", bound=_Result)


class Form:
    """Reads each value from a flag (`given`) or, at a `terminal`, from the user. Collects the `problems` of flags."""

    def __init__(self, given: Mapping[str, str | None], terminal: Terminal | None = None) -> None:
        self._given = given
        self.terminal = terminal
        self._answers: dict[str, str] = {}
        self.problems: list[str] = []

    def missing(self) -> list[str]:
        """Return the flags that are required and missing; without a terminal only."""
        return (
            [] if self.terminal else [question.flag for question in REQUIRED if self._given.get(question.flag) is None]
        )

    def read(self, question: Question, correct: Callable[[str], Result], *, default: str = "") -> Result | None:
        """Return the corrected value; None for an invalid flag without a terminal. Raise Aborted and Back."""
        text = self._given.get(question.flag)
        if text is None and self.terminal is None:
            text = default
        if text is not None and question.flag not in self._answers:
            try:
                return _show_changes(f"{question.flag}: ", correct(text))
            except InvalidInput as cause:
                self._report(question, cause)
        if self.terminal is None:
            return None
        answer = self.terminal.ask(question, correct, default=self._answers.get(question.flag, default))
        self._answers[question.flag] = answer.value
        return _show_changes("  ", answer)

    def was_asked(self, question: Question) -> bool:
        """Return whether the user has answered the question, and can answer it again."""
        return question.flag in self._answers

    @property
    def answer_count(self) -> int:
        """The number of questions that the user has answered."""
        return len(self._answers)

    def _report(self, question: Question, cause: InvalidInput) -> None:
        if self.terminal:
            show(f"{question.flag}: {cause}")
        else:
            self.problems.append(f"{question.flag}: {cause}")


def fill_form(form: Form, config: Path, *, addresses: Mapping[str, str], allow: Sequence[str]) -> Draft | None:
    """Return the values for the file at `config`. Return None if the flags have `problems`. Raise Aborted.

    The secret file is the last question, after the review: nothing is written before it.
    """
    values = _Values()
    steps = _steps(form, values)
    index = 0
    while index < len(steps):
        try:
            steps[index][1]()
            index += 1
        except Back:
            answered = [number for number in range(index) if form.was_asked(steps[number][0])]
            index = answered[-1] if answered else index
    domain, client, target, scope_value = values.domain, values.client, values.target, values.scope
    name, path, secret = values.name, values.path, values.secret
    if not (domain and client and target and scope_value and name and path and secret):
        return None
    return Draft(
        token_url=domain.value,
        client_id=client.value,
        secret_file=path_in_config(secret.value, config),
        scope=scope_value.value,
        upstream=target.upstream,
        name=name.value,
        path=path.value,
        instance=target.instance,
        allow=tuple(allow),
        **addresses,
    )


@dataclass(slots=True)
class _Values:
    """The values that have been read."""

    domain: Corrected | None = None
    client: Corrected | None = None
    target: Integration | None = None
    scope: Corrected | None = None
    name: Corrected | None = None
    path: Corrected | None = None
    secret: SecretFile | None = None


def _steps(form: Form, values: _Values) -> list[tuple[Question, Callable[[], None]]]:
    """Return each question with the function that reads its answer. Later answers may depend on earlier ones."""

    def read_domain() -> None:
        values.domain = form.read(DOMAIN, lambda text: token_url(refuse_secret(text)))

    def read_client() -> None:
        host = urlsplit(values.domain.value).hostname if values.domain else ""
        values.client = form.read(CLIENT, partial(client_id, is_domain=is_identity_domain(host or "")))

    def read_target() -> None:
        values.target = _read_target(form)

    def read_scope() -> None:
        values.scope = form.read(SCOPE, lambda text: scope(refuse_secret(text), values.target or UNKNOWN))

    def read_name() -> None:
        default = default_name(values.target.code if values.target else "")
        values.name = form.read(NAME, lambda text: route_name(refuse_secret(text)), default=default)

    def read_path() -> None:
        default = f"/{values.name.value if values.name else ''}/"
        values.path = form.read(PATH, lambda text: route_path(refuse_secret(text)), default=default)

    def review() -> None:
        _review(form, values)

    def read_secret() -> None:
        default = f"./{values.name.value if values.name else ''}.secret"
        values.secret = form.read(SECRET, partial(_read_or_write_secret, form.terminal), default=default)

    return [
        (DOMAIN, read_domain),
        (CLIENT, read_client),
        (URL, read_target),
        (SCOPE, read_scope),
        (NAME, read_name),
        (PATH, read_path),
        (_REVIEW, review),
        (SECRET, read_secret),
    ]


def _review(form: Form, values: _Values) -> None:
    """Show the values and ask for confirmation, after several answers. Raise Back if the user answers no."""
    if form.terminal is None or form.answer_count < _MIN_ANSWERS:
        return
    pairs = ((DOMAIN, values.domain), (CLIENT, values.client), (URL, values.target), (SCOPE, values.scope))
    show("\nValues for the configuration:")
    for question, value in (*pairs, (NAME, values.name), (PATH, values.path)):
        if value is not None:
            show(f"  {question.label}: {value.value}")
    if not form.terminal.confirm("Are these values correct? (n goes back to the previous question)", default=True):
        raise Back


def _read_target(form: Form) -> Integration | None:
    """Return the target of the route: the trigger, or only the pasted path below it if the user wants that."""
    target = form.read(URL, lambda text: integration(refuse_secret(text)))
    if target and target.subpath and "{" not in target.subpath and form.terminal:
        prompt = f"Restrict the route to paths below /{target.subpath}?"
        if form.terminal.confirm(prompt, default=False):
            return replace(target, upstream=target.upstream + target.subpath, subpath="")
    return target


def _read_or_write_secret(terminal: Terminal | None, text: str) -> SecretFile:
    """Return the secret file. If it does not exist, offer to write it. Raise InvalidInput, Aborted and Back."""
    file = read_secret_file(text)
    if file.exists or terminal is None:
        return file
    if not terminal.confirm(f"{file.value} does not exist. Write it now, readable only by you?", default=True):
        return file
    write_secret_file(file.value, _prompt_for_secret(terminal))
    show(f"wrote {file.value}")
    return read_secret_file(file.value)


def _prompt_for_secret(terminal: Terminal) -> str:
    while True:
        answer = terminal.secret(_HIDDEN_PROMPT)
        if secret := answer.strip():
            if secret != answer:
                show("  removed the white space around the value")
            return secret
        show("  the secret is empty; paste it, or press Ctrl-C to abort")


def _show_changes(prefix: str, result: Result) -> Result:
    """Show the changes, the corrected value and the notes."""
    for change in result.changes:
        show(f"{prefix}{change}")
    if result.changes:
        show(f"{prefix}the value is {result.value}")
    for note in result.notes:
        show(f"{prefix}note: {note}")
    return result
