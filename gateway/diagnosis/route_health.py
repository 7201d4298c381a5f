"""What ails a route at run time: the last thing that its upstream did that was no success, until one succeeds.

Judged as `check --live` judges, by `diagnosis.routes`, but in passing: nothing is asked a second time here. Where an
answer has several causes that only asking tells apart, the code is one that names them in their order; whoever has
asked hands what came out to `found`. Pure: who asks brings the time. What a flow answers of its own will, which its
instance id tells, is never a trouble: it shows that all is well with the way, the token and the role.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.facts import ProbeResponse, RouteProbe
from gateway.diagnosis.finding import Finding
from gateway.diagnosis.route_findings import code_of_failure, diagnose_response, meaning
from gateway.oic.urls import OicTarget, probe_target

_ASK = "`oic-gateway check --live` tells which."
_FIELDS = frozenset(("www-authenticate", "location"))

# What else a caller's request may show.
_ELSE = {
    "not-found": f"Or what the caller asks for is no resource of the integration. {_ASK}",
    "upstream-broken": _ASK,
}


class RouteHealth:
    """The trouble of one route; `is_known` while there is one: a success need not be told while there is none."""

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
        """The configured URL, and the scope of the credential."""
        self._upstream, self._scope = upstream, scope
        self.is_known = False
        self.status = 0
        """What the upstream answered; 0: nothing."""
        self.target: OicTarget | None = None
        """What was asked of it; None where nothing is known of such URLs, or no answer came."""
        self._code = self._seen = ""
        self._at = self._since = 0.0
        self._count = 0
        self._found: Finding | None = None

    def record_response(
        self, status: int, *, has_instance_id: bool, at: float, target: str = "/", lines: Iterable[bytes] = ()
    ) -> None:
        """The upstream's last word to a request for `target`: status and field lines; `at` in epoch seconds."""
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
            seen = f"the upstream answers {status} without an instance id"
            self._keep(code, f"{seen}; {more}" if more else seen, at, status=status)
            self.target = None if leads_to.kind == "other" else leads_to

    def record_failure(self, code: str, reason: str, *, at: float) -> None:
        """There was no answer: the code of our error, and its reason for operators."""
        self._keep(code_of_failure(f"{code}: {reason}"), reason or code, at, status=0)
        self.target = None

    def record_finding(self, finding: Finding, status: int) -> None:
        """What came of asking again, with which answer: if that fails alike, it tells why."""
        if self.is_known and (finding.ok or status == self.status):
            self._found = finding

    def as_status(self) -> dict[str, object] | None:
        """For `/status`: the code of the mistake, what was seen, what it means and what to do; how often in a row,
        since when and when last (epoch seconds).
        """
        if not self.is_known:
            return None
        return {**self._judged(), "count": self._count, "since": self._since, "at": self._at}

    def _judged(self) -> Mapping[str, object]:
        found = self._found
        if found is not None and not found.ok:
            seen = f"{self._seen}; asked again: {found.seen}"
            return {"code": found.code, "seen": seen, "means": found.means, "remedy": found.remedy}
        row = MISTAKES[self._code]
        means = meaning(self._code) or " ".join(filter(None, (row.means, _ELSE.get(self._code))))
        seen = self._seen if found is None else f"{self._seen}; a harmless request is answered well: {found.seen}"
        return {"code": self._code, "seen": seen, "means": means, "remedy": row.remedy}

    def _keep(self, code: str, seen: str, at: float, *, status: int) -> None:
        if not self.is_known or code != self._code or status != self.status:
            self._count, self._since, self._found = 0, at, None
        self.is_known = True
        self._code, self._seen, self._at, self.status = code, seen, at, status
        self._count += 1


def _fields(lines: Iterable[bytes]) -> dict[str, str]:
    """Those that are judged, by lower-case name."""
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return {key: value.strip() for name, _, value in pairs if (key := name.strip().lower()) in _FIELDS}
