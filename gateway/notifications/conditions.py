"""What is wrong now, as far as hooks are called for it, from the states that `/status` shows. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.config.notify_model import NotifyEvent

SubjectKind = Literal["credential", "service", "caller", "listener"]
EXPIRES_SOON = 14 * 86400.0
"""Seconds before its expiry at which a certificate is reported."""
_QUOTAS = ("calls", "messages")


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that a person should know: the event, what it is about, and its diagnosis. `at` is when it was last
    observed, in epoch seconds.
    """

    event: NotifyEvent
    kind: SubjectKind
    name: str
    code: str
    seen: str
    means: str
    remedy: str
    at: float


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """The conditions that one process observes, and when each credential last obtained a token there."""

    conditions: tuple[Condition, ...] = ()
    obtained: Mapping[str, float] = field(default_factory=dict)


def process_report(
    credentials: Mapping[str, Mapping[str, Any]],
    *,
    services: Mapping[str, Mapping[str, Any]],
    callers: Mapping[str, Mapping[str, Any]],
    listeners: Iterable[Mapping[str, Any]],
    now: float,
) -> ProcessReport:
    """Return what one process observes at `now` (epoch seconds), from the entries of `/status`."""
    found = [
        _credential_condition(name, status["last_error"])
        for name, status in credentials.items()
        if status["last_error"] is not None and status["last_error"]["permanent"]
    ]
    found += service_conditions(services, now)
    found += quota_conditions(callers, now)
    found += certificate_conditions(listeners, now)
    obtained = {name: status["obtained"] for name, status in credentials.items() if status["obtained"] is not None}
    return ProcessReport(tuple(found), obtained)


def merge_reports(reports: Iterable[ProcessReport]) -> list[Condition]:
    """Return the conditions of several processes, each once. A failure of one process no longer counts when any process
    has obtained a token since.
    """
    latest: dict[tuple[str, str], Condition] = {}
    obtained: dict[str, float] = {}
    for report in reports:
        for condition in report.conditions:
            key = condition.event, condition.name
            if key not in latest or condition.at > latest[key].at:
                latest[key] = condition
        for name, at in report.obtained.items():
            obtained[name] = max(at, obtained.get(name, 0.0))
    return [
        condition
        for condition in latest.values()
        if condition.kind != "credential" or condition.at >= obtained.get(condition.name, 0.0)
    ]


def service_conditions(services: Mapping[str, Mapping[str, Any]], now: float) -> Iterator[Condition]:
    """Yield the services whose circuit is not closed, from `services` of `/status`."""
    for name, status in services.items():
        problem = status["problem"]
        if status["circuit"]["state"] != "closed" and problem is not None:
            yield Condition("breaker-open", "service", name, at=now, **problem)


def quota_conditions(callers: Mapping[str, Mapping[str, Any]], now: float) -> Iterator[Condition]:
    """Yield the callers that have used a quota, from `caller_limits` of `/status`."""
    for name, status in callers.items():
        problem = status["problem"]
        quotas = [status[kind] for kind in _QUOTAS if status[kind] is not None]
        if problem is not None and any(quota["used"] >= quota["limit"] for quota in quotas):
            yield Condition("quota", "caller", name, at=now, **problem)


def certificate_conditions(listeners: Iterable[Mapping[str, Any]], now: float) -> Iterator[Condition]:
    """Yield the listeners whose certificate expires soon or cannot be read, from `listeners` of `/status`."""
    for listener in listeners:
        certificate = listener.get("certificate")
        if certificate is None:
            continue
        left = certificate["expires_at"] - now
        seen, means = "", ""
        if left <= EXPIRES_SOON:
            seen = f"the certificate expires in {left / 86400:.1f} days" if left > 0 else "the certificate has expired"
            means = "Callers that verify it cannot connect after its end."
        elif certificate["problem"] is not None:
            seen = f"the certificate cannot be read again: {certificate['problem']}"
            means = "The former certificate stays in use until it expires."
        if seen:
            remedy = "Replace the files of `tls` of this listener; the gateway reads them again by itself."
            yield Condition("certificate", "listener", listener["address"], "certificate", seen, means, remedy, now)


def _credential_condition(name: str, error: Mapping[str, Any]) -> Condition:
    event: NotifyEvent = "sign-in-needed" if error["code"] == "sign-in" else "token-refused"
    texts = {key: str(error[key]) for key in ("code", "seen", "means", "remedy")}
    return Condition(event, "credential", name, at=float(error["at"]), **texts)
