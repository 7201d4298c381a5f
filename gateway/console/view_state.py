"""States and problems as people see them: an icon, a word and a tone, never a colour alone. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode

Tone = Literal["ok", "warn", "bad", "rest"]
ICONS: dict[Tone, str] = {"ok": "check", "warn": "alert", "bad": "cross", "rest": "pause"}
_STALE = "stale"


@dataclass(frozen=True, slots=True)
class StateLabel:
    """A state in a word or two, with the tone and the icon that repeat it."""

    tone: Tone
    text: str
    icon: str


@dataclass(frozen=True, slots=True)
class ProblemView:
    """A problem of a credential, route, service or another part: what was seen, what it means, what to do."""

    kind: str
    name: str
    href: str
    tone: Tone
    code: str
    seen: str
    means: str
    remedy: str
    since: float | None = None
    count: int | None = None


def state_label(tone: Tone, text: str, icon: str = "") -> StateLabel:
    """Return a state with the icon of its tone, or with `icon`."""
    return StateLabel(tone, text, icon or ICONS[tone])


def page_url(*segments: str, **query: str) -> str:
    """Return the URL of a page of the console. Names may contain any character."""
    path = "/console/" + "/".join(quote(segment, safe="") for segment in segments)
    return f"{path}?{urlencode(query)}" if query else path


def credential_state(credential: Mapping[str, Any]) -> StateLabel:
    """Return the state of a credential, from its document in `/status`."""
    problem, has_token = credential["problem"] or credential["last_error"], credential["state"] in {"fresh", _STALE}
    if problem is None:
        if not has_token:
            return state_label("rest", "Expired" if credential["state"] == "expired" else "No token yet")
        is_stale = credential["state"] == _STALE
        return state_label("ok", "Renewal due" if is_stale else "Valid", "renew" if is_stale else "")
    if has_token:
        return state_label("warn", "Valid, renewal fails")
    return (
        state_label("bad", "Sign-in needed", "person")
        if problem["code"] == "sign-in"
        else state_label("bad", "No token")
    )


def circuit_state(service: Mapping[str, Any]) -> StateLabel:
    """Return the state of a service's circuit breaker."""
    state = service["circuit"]["state"]
    if state == "closed":
        return state_label("ok", "Closed")
    if state == "open":
        return state_label("bad", "Open")
    return state_label("warn", "Half open")


def worker_state(state: str) -> StateLabel:
    """Return the state of a worker process."""
    labels = {
        "working": state_label("ok", "Working"),
        "starting": state_label("rest", "Starting"),
        "stuck": state_label("bad", "Does not respond"),
    }
    return labels.get(state, state_label("rest", state.capitalize()))


def call_tone(status: int | None, error: str | None, level: str) -> Tone:
    """Return the tone of a call: good, the caller's error, or an error of the gateway or what is behind it."""
    if status is None or level == "error" or (status >= 500):
        return "bad"
    return "warn" if status >= 400 or error else "ok"


def problem_view(
    kind: str, name: str, href: str, problem: Mapping[str, Any], *, tone: Tone = "bad", at: float | None = None
) -> ProblemView:
    """Return a problem as `/status` describes it; `at` is its time if the document has none."""
    return ProblemView(
        kind, name, href, tone, problem.get("code", ""), problem.get("seen", ""), problem.get("means", ""),
        problem.get("remedy", ""), problem.get("since", at), problem.get("count"),
    )  # fmt: skip
