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
from gateway.diagnosis.route_findings import code_of_failure, diagnose_response, meaning
from gateway.oic.urls import OicTarget, probe_target

_ASK = "`oic-gateway check --live` finds the cause."
_FIELDS = frozenset(("www-authenticate", "location"))

# Added to the meaning of a code that comes from a caller's request.
_ADDED = {
    "not-found": f"Or the integration has no such resource. {_ASK}",
    "upstream-broken": _ASK,
}


class RouteHealth:
    """The problem of one route; `is_known` while there is one. Without one, successes need not be recorded."""

    __slots__ = (
        "_at",
        "_code",
        "_count",
        "_found",
        "_scope",
        "_seen",
        "_since",
        "_upstream",
        "is_known",
        "status",
        "target",
    )

    def __init__(self, upstream: str = "", scope: str = "") -> None:
        """Take the configured URL of the upstream and the scope of the credential."""
        self._upstream, self._scope = upstream, scope
        self.is_known = False
        self.status = 0
        """Status of the response; 0: no response."""
        self.target: OicTarget | None = None
        """Target of the request; None for other URLs than OIC's, or without a response."""
        self._code = self._seen = ""
        self._at = self._since = 0.0
        self._count = 0
        self._found: Finding | None = None

    def record_response(
        self, status: int, *, has_instance_id: bool, at: float, target: str = "/", lines: Iterable[bytes] = ()
    ) -> None:
        """Record the response to a request for `target`: status and field lines; `at` in epoch seconds."""
        if has_instance_id or status < 300 or status == 304:
            self.is_known = False
            return
        path, _, query = target.partition("?")
        asked = dict(parse_qsl(query, keep_blank_values=True))
        leads_to = probe_target(path)
        reply = ProbeResponse(status, _fields(lines))
        tried = RouteProbe(self._upstream, "", path, asked, reply, scope=self._scope, in_passing=True)
        code, more = diagnose_response(tried, reply, leads_to)
        if code:
            seen = f"the upstream responds {status} without an instance id"
            self._keep(code, f"{seen}; {more}" if more else seen, at, status=status)
            self.target = None if leads_to.kind == "other" else leads_to

    def record_failure(self, code: str, reason: str, *, at: float) -> None:
        """Record a request without a response: error code and reason."""
        self._keep(code_of_failure(f"{code}: {reason}"), reason or code, at, status=0)
        self.target = None

    def record_finding(self, finding: Finding, status: int) -> None:
        """Record the finding of a background check and the status of its response. It counts if it failed alike."""
        if self.is_known and (finding.ok or status == self.status):
            self._found = finding

    def as_status(self) -> dict[str, object] | None:
        """Return the problem for `/status`: code, result, meaning, remedy; count of failures in a row, first and last
        time in epoch seconds.
        """
        if not self.is_known:
            return None
        return {**self._judged(), "count": self._count, "since": self._since, "at": self._at}

    def _judged(self) -> Mapping[str, object]:
        found = self._found
        if found is not None and not found.ok:
            seen = f"{self._seen}; checked again: {found.seen}"
            return {"code": found.code, "seen": seen, "means": found.means, "remedy": found.remedy}
        row = MISTAKES[self._code]
        means = meaning(self._code) or " ".join(filter(None, (row.means, _ADDED.get(self._code))))
        seen = self._seen if found is None else f"{self._seen}; a harmless request succeeds: {found.seen}"
        return {"code": self._code, "seen": seen, "means": means, "remedy": row.remedy}

    def _keep(self, code: str, seen: str, at: float, *, status: int) -> None:
        if not self.is_known or code != self._code or status != self.status:
            self._count, self._since, self._found = 0, at, None
        self.is_known = True
        self._code, self._seen, self._at, self.status = code, seen, at, status
        self._count += 1


def _fields(lines: Iterable[bytes]) -> dict[str, str]:
    """Return the fields that the diagnosis uses, by lower-case name."""
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return {key: value.strip() for name, _, value in pairs if (key := name.strip().lower()) in _FIELDS}
