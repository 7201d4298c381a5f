"""The form that a first configuration is made from: each value from its flag, else from the person, else a default.

All that is wrong with the flags is found, not the first of it alone. What was changed in a value is said as it is
taken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from gateway.config.corrections.client import client_id
from gateway.config.corrections.domain import token_url
from gateway.config.corrections.integration import UNKNOWN, Integration, integration
from gateway.config.corrections.pasted import Uncorrectable
from gateway.config.corrections.scope import scope
from gateway.init.draft import Draft
from gateway.init.naming import name_of, route_name, route_path
from gateway.init.person import Person, Question, say
from gateway.init.writing import SecretFile, as_written, keep_secret, look

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

_PRIVATE = "Client secret (it is not shown): "


class _Said(Protocol):
    """What a correction gives."""

    @property
    def value(self) -> str: ...
    @property
    def changes(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=_Said)


class Form:
    """Takes values: `given` by flag, or from `person` where there is one. `problems` are those of the flags."""

    def __init__(self, given: Mapping[str, str | None], person: Person | None = None) -> None:
        self._given = given
        self.person = person
        self.problems: list[str] = []

    def missing(self) -> list[str]:
        """The flags without which nobody says what is needed."""
        return [] if self.person else [one.flag for one in NEEDED if self._given.get(one.flag) is None]

    def take(self, question: Question, correct: Callable[[str], S], *, default: str = "") -> S | None:
        """The value, corrected; None where the flag's cannot be, and nobody can be asked. Raises Gone."""
        text = self._given.get(question.flag)
        if text is None and self.person is None:
            text = default
        if text is not None:
            try:
                return _told(f"{question.flag}: ", correct(text))
            except Uncorrectable as cause:
                self._refuse(question, cause)
        return _told("  ", self.person.ask(question, correct, default=default)) if self.person else None

    def _refuse(self, question: Question, cause: Uncorrectable) -> None:
        if self.person:
            say(f"{question.flag}: {cause}")
        else:
            self.problems.append(f"{question.flag}: {cause}")


def fill(form: Form, config: Path, *, addresses: Mapping[str, str], allow: Sequence[str]) -> Draft | None:
    """What the file at `config` is to say; None where flags have `problems`. Raises Gone.

    The secret's file comes last: before it nothing is written.
    """
    identity = form.take(DOMAIN, token_url)
    client = form.take(CLIENT, client_id)
    leads = _leads(form)
    asked = form.take(SCOPE, lambda text: scope(text, leads or UNKNOWN))
    name = form.take(NAME, route_name, default=name_of(leads.code if leads else ""))
    path = form.take(PATH, route_path, default=f"/{name.value if name else ''}/")
    secret = form.take(SECRET, partial(_secret, form.person), default=f"./{name.value if name else ''}.secret")
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


def _leads(form: Form) -> Integration | None:
    """Where the route leads: to the trigger itself, or as a person may like it, only to what was pasted below it."""
    leads = form.take(URL, integration)
    if leads and leads.below and "{" not in leads.below and form.person:
        narrow = f"Is the route to reach only what lies below /{leads.below}, not all of the integration?"
        if form.person.agrees(narrow, default=False):
            return replace(leads, upstream=leads.upstream + leads.below, below="")
    return leads


def _secret(person: Person | None, text: str) -> SecretFile:
    """The secret's file; written at once where a person has none yet and likes to. Raises Uncorrectable, Gone."""
    file = look(text)
    if file.is_there or person is None:
        return file
    if not person.agrees(f"{file.value} is not there. Write it now, so that only you can read it?", default=True):
        return file
    keep_secret(file.value, _typed(person))
    say(f"wrote {file.value}")
    return look(file.value)


def _typed(person: Person) -> str:
    while True:
        typed = person.secret(_PRIVATE)
        if secret := typed.strip():
            if secret != typed:
                say("  took away the white space around it")
            return secret
        say("  it is empty; paste it, or stop with Ctrl-C")


def _told(before: str, said: S) -> S:
    """Says what was changed, and why."""
    for change in said.changes:
        say(f"{before}{change}")
    if said.changes:
        say(f"{before}it is {said.value}")
    for note in said.notes:
        say(f"{before}note: {note}")
    return said
