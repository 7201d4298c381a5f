"""The form that a first configuration is made from: each value from its flag, else from the person, else a default.

All that is wrong with the flags is found, not the first of it alone. What was changed in a value is said as it is
taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from gateway.config.corrections.client_secret import client_id, refuse_secret
from gateway.config.corrections.identity_domain import token_url
from gateway.config.corrections.integration_url import UNKNOWN, Integration, integration
from gateway.config.corrections.pasted_scope import scope
from gateway.config.corrections.pasted_text import Corrected, InvalidInput
from gateway.init.config_writer import SecretFile, as_written, keep_secret, look
from gateway.init.draft import Draft
from gateway.init.route_naming import name_of, route_name, route_path
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
NAME = Question("--name", "Route name", "what logs, metrics and messages call the way to this integration")
PATH = Question("--path", "Path", "where callers find it at the gateway")
SECRET = Question("--secret-file", "Secret file", "the file that holds the client secret, not the secret itself")

NEEDED = (DOMAIN, CLIENT, SECRET, SCOPE, URL)
"""What only a person or a flag can say."""

_REVIEW = Question("", "", "")
_SEVERAL = 3
_PRIVATE = "Client secret (it is not shown): "


class _Answered(Protocol):
    """What a correction gives."""

    @property
    def value(self) -> str: ...
    @property
    def changes(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=_Answered)


class Form:
    """Takes values: `given` by flag, or from `person` where there is one. `problems` are those of the flags."""

    def __init__(self, given: Mapping[str, str | None], person: Terminal | None = None) -> None:
        self._given = given
        self.person = person
        self._asked: dict[str, str] = {}
        self.problems: list[str] = []

    def missing(self) -> list[str]:
        """The flags without which nobody says what is needed."""
        return [] if self.person else [one.flag for one in NEEDED if self._given.get(one.flag) is None]

    def take(self, question: Question, correct: Callable[[str], S], *, default: str = "") -> S | None:
        """The value, corrected; None where the flag's cannot be, and nobody can be asked. Raises Gone, Back."""
        text = self._given.get(question.flag)
        if text is None and self.person is None:
            text = default
        if text is not None and question.flag not in self._asked:
            try:
                return _told(f"{question.flag}: ", correct(text))
            except InvalidInput as cause:
                self._refuse(question, cause)
        if self.person is None:
            return None
        answer = self.person.ask(question, correct, default=self._asked.get(question.flag, default))
        self._asked[question.flag] = answer.value
        return _told("  ", answer)

    def was_asked(self, question: Question) -> bool:
        """Whether the person has answered it, so that it can be answered again."""
        return question.flag in self._asked

    @property
    def count(self) -> int:
        """How many questions the person has answered."""
        return len(self._asked)

    def _refuse(self, question: Question, cause: InvalidInput) -> None:
        if self.person:
            show(f"{question.flag}: {cause}")
        else:
            self.problems.append(f"{question.flag}: {cause}")


def fill(form: Form, config: Path, *, addresses: Mapping[str, str], allow: Sequence[str]) -> Draft | None:
    """What the file at `config` is to say; None where flags have `problems`. Raises Gone.

    The secret's file comes last, behind a look at all the rest: before it nothing is written.
    """
    values = _Values()
    steps = _steps(form, values)
    index = 0
    while index < len(steps):
        try:
            steps[index][1]()
            index += 1
        except Back:
            before = [number for number in range(index) if form.was_asked(steps[number][0])]
            index = before[-1] if before else index
    identity, client, leads, asked = values.identity, values.client, values.leads, values.scope
    name, path, secret = values.name, values.path, values.secret
    if not (identity and client and leads and asked and name and path and secret):
        return None
    return Draft(
        token_url=identity.value,
        client_id=client.value,
        secret_file=as_written(secret.value, config),
        scope=asked.value,
        upstream=leads.upstream,
        name=name.value,
        path=path.value,
        instance=leads.instance,
        allow=tuple(allow),
        **addresses,
    )


@dataclass(slots=True)
class _Values:
    """What has been taken so far."""

    identity: Corrected | None = None
    client: Corrected | None = None
    leads: Integration | None = None
    scope: Corrected | None = None
    name: Corrected | None = None
    path: Corrected | None = None
    secret: SecretFile | None = None


def _steps(form: Form, values: _Values) -> list[tuple[Question, Callable[[], None]]]:
    """Each question, and what takes its answer; a later one may depend on those before it."""

    def identity() -> None:
        values.identity = form.take(DOMAIN, lambda text: token_url(refuse_secret(text)))

    def client() -> None:
        host = urlsplit(values.identity.value).hostname if values.identity else ""
        values.client = form.take(CLIENT, partial(client_id, is_domain=is_identity_domain(host or "")))

    def leads() -> None:
        values.leads = _leads(form)

    def asked() -> None:
        values.scope = form.take(SCOPE, lambda text: scope(refuse_secret(text), values.leads or UNKNOWN))

    def name() -> None:
        default = name_of(values.leads.code if values.leads else "")
        values.name = form.take(NAME, lambda text: route_name(refuse_secret(text)), default=default)

    def path() -> None:
        default = f"/{values.name.value if values.name else ''}/"
        values.path = form.take(PATH, lambda text: route_path(refuse_secret(text)), default=default)

    def reviewed() -> None:
        _review(form, values)

    def secret() -> None:
        default = f"./{values.name.value if values.name else ''}.secret"
        values.secret = form.take(SECRET, partial(_secret, form.person), default=default)

    return [
        (DOMAIN, identity),
        (CLIENT, client),
        (URL, leads),
        (SCOPE, asked),
        (NAME, name),
        (PATH, path),
        (_REVIEW, reviewed),
        (SECRET, secret),
    ]


def _review(form: Form, values: _Values) -> None:
    """Shows a person who has answered several questions what is about to be written. Raises Back where they say no."""
    if form.person is None or form.count < _SEVERAL:
        return
    shown = ((DOMAIN, values.identity), (CLIENT, values.client), (URL, values.leads), (SCOPE, values.scope))
    show("\nThe configuration will have")
    for question, taken in (*shown, (NAME, values.name), (PATH, values.path)):
        if taken is not None:
            show(f"  {question.label}: {taken.value}")
    if not form.person.confirm("Is this right? (n goes back to the question before)", default=True):
        raise Back


def _leads(form: Form) -> Integration | None:
    """Where the route leads: to the trigger itself, or as a person may like it, only to what was pasted below it."""
    leads = form.take(URL, lambda text: integration(refuse_secret(text)))
    if leads and leads.below and "{" not in leads.below and form.person:
        narrow = f"Is the route to reach only what lies below /{leads.below}, not all of the integration?"
        if form.person.confirm(narrow, default=False):
            return replace(leads, upstream=leads.upstream + leads.below, below="")
    return leads


def _secret(person: Terminal | None, text: str) -> SecretFile:
    """The secret's file; written at once where a person has none yet and likes to. Raises Uncorrectable, Gone."""
    file = look(text)
    if file.is_there or person is None:
        return file
    if not person.confirm(f"{file.value} is not there. Write it now, so that only you can read it?", default=True):
        return file
    keep_secret(file.value, _typed(person))
    show(f"wrote {file.value}")
    return look(file.value)


def _typed(person: Terminal) -> str:
    while True:
        typed = person.secret(_PRIVATE)
        if secret := typed.strip():
            if secret != typed:
                show("  took away the white space around it")
            return secret
        show("  it is empty; paste it, or stop with Ctrl-C")


def _told(before: str, said: S) -> S:
    """Says what was changed, and why."""
    for change in said.changes:
        show(f"{before}{change}")
    if said.changes:
        show(f"{before}it is {said.value}")
    for note in said.notes:
        show(f"{before}note: {note}")
    return said
