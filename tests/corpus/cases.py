"""The cases of the corpus, read from their data files and checked: what is sent, and what has to come of it.

The files say at their top what their keys mean. Text there stands for bytes: each character is the byte of its number
(latin-1), so that `"\\r\\n"` and `"\\xff"` are what they look like.
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
    """One thing that a peer does: says or drips bytes, waits, or ends its side."""

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
    raise ValueError(f"no step: {item}")


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
    """A part of a data file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Verdict(Part):
    """What has to come of a case. More than one key: any of them will do."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an empty verdict")
        return self


class Forwarded(Part):
    """What the upstream has to see: the method and target, the body, these values of fields, none of those."""

    line: Annotated[str, BeforeValidator(_joined)] = "GET /up/1"
    body: Bytes = b""
    fields: dict[str, Bytes] = {}
    without: list[str] = []


class RequestVerdict(Verdict):
    """What has to come of one request."""

    forwarded: Forwarded | None = None
    refused: Statuses = []
    dropped: bool = False


class Case(Part):
    """What all cases have."""

    name: Annotated[str, Field(pattern=r"[a-z0-9.-]+")]
    rfc: Annotated[str, Field(pattern=r"[0-9]{4} §[0-9.]+|contract")]
    why: str = ""
    verdict: object


class RequestCase(Case):
    """A caller's bytes. See requests.yaml."""

    send: Script
    verdict: Annotated[list[RequestVerdict], BeforeValidator(_listed), Field(min_length=1)]
    open: bool | Literal["any"] | None = None
    reaches: Literal["nothing", "part"] = "nothing"

    @property
    def stays(self) -> bool | Literal["any"]:
        """Whether the connection is open in the end; unsaid, it is unless the last request was refused."""
        return self.verdict[-1].forwarded is not None if self.open is None else self.open


class Delivered(Part):
    """What the caller has to get, and whether the upstream's connection is used again."""

    status: int = 200
    body: Bytes = b""
    framing: Literal["length", "chunked", "close", "none"] = "length"
    fields: dict[str, Bytes] = {}
    without: list[str] = []
    reused: bool = False


class Cut(Part):
    """What the caller has of a transfer that is then visibly broken."""

    status: int = 200
    body: Bytes = b""


class ReplyVerdict(Verdict):
    """What has to come of one reply."""

    delivered: Delivered | None = None
    broken: Literal[502, 504] | None = None
    cut: Cut | None = None


class ReplyCase(Case):
    """An upstream's bytes. See replies.yaml."""

    send: Script = (Step("say", b"GET $path HTTP/1.1\r\nHost: gw\r\n\r\n"),)
    begins: Literal["request", "head"] = "request"
    say: Script
    verdict: ReplyVerdict
    attempts: int = 1
    warm: bool = False
    timeout: dict[str, str] = {}


class Corpus(NamedTuple):
    """Both files."""

    requests: list[RequestCase]
    replies: list[ReplyCase]


def load() -> Corpus:
    """Reads the files. Raises ValueError for what is not sound."""
    return Corpus(_read("requests", RequestCase), _read("replies", ReplyCase))


def _read(name: str, kind: type[C]) -> list[C]:
    text = (HERE / f"{name}.yaml").read_text(encoding="utf-8")
    document = yaml.load(text, yaml.CSafeLoader)  # ten times as fast, and every test process reads both files
    return TypeAdapter(list[kind]).validate_python(document)  # type: ignore[valid-type]


def dripped(cases: list[C], key: str) -> list[C]:
    """Copies of those cases whose bytes (`key`: send or say) are few and come at once: now they come one by one, which
    must change nothing. Where a broken reply is cut is left to its split.
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
    """The steps with `$name` replaced in their bytes."""
    replaced = []
    for step in steps:
        data = step.data
        for name, word in words.items():
            data = data.replace(b"$" + name.encode(), word.encode())
        replaced.append(Step(step.kind, data))
    return tuple(replaced)
