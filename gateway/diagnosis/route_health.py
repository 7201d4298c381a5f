"""The current problem of a route: the last failure of its upstream, until a request succeeds. Pure.

Callers' requests are diagnosed as in `check --live` (`route_findings`), without further requests. If a response has
several causes that only a check can distinguish, the code covers all of them; a background check then reports its
finding with `record_finding`. A response with an instance id is never a problem: it comes from a flow, and proves that
network, token and role work.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.facts import ProbeResponse, RouteProbe
from gateway.diagnosis.finding import Finding
from gateway.diagnosis.route_findings import combined_meaning, diagnose_response, request_failure_code
from gateway.oic.urls import OicTarget, probe_target

_RUN_CHECK = "`oic-gateway check --live` finds the cause."
_FIELDS = frozenset(("www-authenticate", "location"))

# Added to the meaning of a code that comes from a caller's request.
_ADDED_MEANING = {
    "not-found": f"Or the integration has no such resource. {_RUN_CHECK}",
    "upstream-broken": _RUN_CHECK,
}


class RouteHealth:
    """The problem of one route, while it `has_problem`. Without a problem, successes need not be recorded."""

    __slots__ = (
        "_code",
        "_count",
        "_finding",
        "_first_at",
        "_last_at",
        "_scope",
        "_seen",
        "_upstream",
        "has_problem",
        "status",
        "target",
    )

    def __init__(self, upstream: str = "", scope: str = "") -> None:
        """`upstream` is the configured URL, `scope` the scope of the credential."""
        self._upstream, self._scope = upstream, scope
        self.has_problem = False
        self.status = 0
        """Status of the response; 0: no response."""
        self.target: OicTarget | None = None
        """Target of the request; None for other URLs than OIC's, or without a response."""
        self._code = self._seen = ""
        self._last_at = self._first_at = 0.0
        self._count = 0
        self._finding: Finding | None = None

    def record_response(
        self, status: int, *, has_instance_id: bool, at: float, target: str = "/", lines: Iterable[bytes] = ()
    ) -> None:
        """Record the response to a request for `target`: status and field lines; `at` in epoch seconds."""
        if has_instance_id or status < 300 or status == 304:
            self.has_problem = False
            return
        path, _, query = target.partition("?")
        query_parameters = dict(parse_qsl(query, keep_blank_values=True))
        oic_target = probe_target(path)
        response = ProbeResponse(status, _fields(lines))
        probe = RouteProbe(
            self._upstream, "", path, query_parameters, response, scope=self._scope, is_caller_request=True
        )
        code, details = diagnose_response(probe, response, oic_target)
        if code:
            seen = f"the upstream responds {status} without an instance id"
            self._record_problem(code, f"{seen}; {details}" if details else seen, at, status=status)
            self.target = None if oic_target.kind == "other" else oic_target

    def record_failure(self, code: str, reason: str, *, at: float) -> None:
        """Record a request without a response: error code and reason."""
        self._record_problem(request_failure_code(f"{code}: {reason}"), reason or code, at, status=0)
        self.target = None

    def record_finding(self, finding: Finding, status: int) -> None:
        """Record the finding of a background check and the status of its response. A failure with another status is
        ignored.
        """
        if self.has_problem and (finding.ok or status == self.status):
            self._finding = finding

    def as_status(self) -> dict[str, object] | None:
        """Return the problem for `/status`: code, result, meaning, remedy; count of failures in a row, first and last
        time in epoch seconds.
        """
        if not self.has_problem:
            return None
        return {**self._current_problem(), "count": self._count, "since": self._first_at, "at": self._last_at}

    def _current_problem(self) -> Mapping[str, object]:
        found = self._finding
        if found is not None and not found.ok:
            seen = f"{self._seen}; checked again: {found.seen}"
            return {"code": found.code, "seen": seen, "means": found.means, "remedy": found.remedy}
        entry = MISTAKES[self._code]
        means = combined_meaning(self._code) or " ".join(filter(None, (entry.means, _ADDED_MEANING.get(self._code))))
        seen = self._seen if found is None else f"{self._seen}; a harmless request succeeds: {found.seen}"
        return {"code": self._code, "seen": seen, "means": means, "remedy": entry.remedy}

    def _record_problem(self, code: str, seen: str, at: float, *, status: int) -> None:
        if not self.has_problem or code != self._code or status != self.status:
            self._count, self._first_at, self._finding = 0, at, None
        self.has_problem = True
        self._code, self._seen, self._last_at, self.status = code, seen, at, status
        self._count += 1


def _fields(lines: Iterable[bytes]) -> dict[str, str]:
    """Return the fields that the diagnosis uses, by lower-case name."""
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return {key: value.strip() for name, _, value in pairs if (key := name.strip().lower()) in _FIELDS}
