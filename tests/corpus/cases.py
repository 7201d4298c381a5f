"""Read and check the cases of the corpus: what is sent, and the expected outcome.

The data files explain their keys at the top. A text in them is a sequence of bytes: each character is the byte of its
number (latin-1), so `"\\r\\n"` is two bytes and `"\\xff"` one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

HERE = Path(__file__).parent
SHORT = 600

C = TypeVar("C", bound="Case")


@dataclass(frozen=True, slots=True)
class Step:
    """One action of a peer: send bytes at once or one by one, wait, or end the connection."""

    kind: str
    data: bytes = b""


def _bytes(text: object) -> object:
    return text.encode("latin-1") if isinstance(text, str) else text


def _step(item: object) -> Step:
    match list(item.items()) if isinstance(item, dict) else item:
        case str(text):
            return Step("say", text.encode("latin-1"))
        case [("repeat", str(text)), ("times", int(times))]:
            return Step("say", text.encode("latin-1") * times)
        case [("drip" | "seen" as kind, str(text))]:
            return Step(kind, text.encode("latin-1"))
        case [("do", "continue" | "reached" | "end" | "close" | "reset" as kind)]:
            return Step(kind)
    raise ValueError(f"not a step: {item}")


def _steps(value: object) -> tuple[Step, ...]:
    return tuple(map(_step, value if isinstance(value, list) else [value]))


def _joined(value: object) -> str:
    return b"".join(step.data for step in _steps(value)).decode("latin-1")


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


Bytes = Annotated[bytes, BeforeValidator(_bytes)]
Script = Annotated[tuple[Step, ...], BeforeValidator(_steps)]
Statuses = Annotated[list[int], BeforeValidator(_listed)]


class Part(BaseModel):
    """A mapping of a data file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Verdict(Part):
    """The expected outcome of a case. If it has several keys, each of them is allowed."""

    @model_validator(mode="after")
    def _has_an_outcome(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an empty verdict")
        return self


class Forwarded(Part):
    """The expected request at the upstream. `fields` must have these values; those in `without` must be absent."""

    line: Annotated[str, BeforeValidator(_joined)] = "GET /up/1"
    body: Bytes = b""
    fields: dict[str, Bytes] = {}
    without: list[str] = []


class RequestVerdict(Verdict):
    """The expected outcome of one request."""

    forwarded: Forwarded | None = None
    refused: Statuses = []
    dropped: bool = False


class Case(Part):
    """The keys of every case."""

    name: Annotated[str, Field(pattern=r"[a-z0-9.-]+")]
    rfc: Annotated[str, Field(pattern=r"[0-9]{4} §[0-9.]+|contract")]
    why: str = ""
    verdict: object


class RequestCase(Case):
    """The bytes of a caller; requests.yaml explains the keys."""

    send: Script
    verdict: Annotated[list[RequestVerdict], BeforeValidator(_listed), Field(min_length=1)]
    open: bool | Literal["any"] | None = None
    reaches: Literal["nothing", "part"] = "nothing"

    @property
    def stays(self) -> bool | Literal["any"]:
        """Return whether the connection stays open; by default it does unless the last request is refused."""
        return self.verdict[-1].forwarded is not None if self.open is None else self.open


class Delivered(Part):
    """The expected response at the caller, and whether the upstream connection is used again."""

    status: int = 200
    body: Bytes = b""
    framing: Literal["length", "chunked", "close", "none"] = "length"
    fields: dict[str, Bytes] = {}
    without: list[str] = []
    reused: bool = False


class Cut(Part):
    """The expected beginning of a transfer that is then visibly broken."""

    status: int = 200
    body: Bytes = b""


class ReplyVerdict(Verdict):
    """The expected outcome of one response."""

    delivered: Delivered | None = None
    broken: Literal[502, 504] | None = None
    cut: Cut | None = None


class ReplyCase(Case):
    """The bytes of an upstream; replies.yaml explains the keys."""

    send: Script = (Step("say", b"GET $path HTTP/1.1\r\nHost: gw\r\n\r\n"),)
    begins: Literal["request", "head"] = "request"
    say: Script
    verdict: ReplyVerdict
    attempts: int = 1
    warm: bool = False
    timeout: dict[str, str] = {}


class Corpus(NamedTuple):
    """The cases of both files."""

    requests: list[RequestCase]
    replies: list[ReplyCase]


def load() -> Corpus:
    """Read the files. Raise ValueError if a case is invalid."""
    return Corpus(_read("requests", RequestCase), _read("replies", ReplyCase))


def _read(name: str, kind: type[C]) -> list[C]:
    text = (HERE / f"{name}.yaml").read_text(encoding="utf-8")
    document = yaml.load(text, yaml.CSafeLoader)  # ten times as fast, and every test process reads both files
    return TypeAdapter(list[kind]).validate_python(document)  # type: ignore[valid-type]


def dripped(cases: list[C], key: str) -> list[C]:
    """Return copies of the short cases whose bytes (`key`: send or say) are sent one by one; the outcome must be the
    same. Cases with `cut` are left out: the position of the cut depends on how the bytes are split.
    """
    copies = []
    for case in cases:
        steps: tuple[Step, ...] = getattr(case, key)
        is_short = len(steps) == 1 and steps[0].kind == "say" and 0 < len(steps[0].data) < SHORT
        if is_short and not getattr(case.verdict, "cut", None):
            update = {"name": f"{case.name}-dripped", key: (Step("drip", steps[0].data),)}
            copies.append(case.model_copy(update=update))
    return copies


def filled(steps: tuple[Step, ...], **words: str) -> tuple[Step, ...]:
    """Return the steps with each `$name` in their bytes replaced."""
    replaced = []
    for step in steps:
        data = step.data
        for name, word in words.items():
            data = data.replace(b"$" + name.encode(), word.encode())
        replaced.append(Step(step.kind, data))
    return tuple(replaced)
