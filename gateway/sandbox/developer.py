"""The developer API: integrations and monitoring, on the design host only."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from gateway.sandbox.arrivals import Arrival
from gateway.sandbox.replies import Fields, Reply, json_reply
from gateway.sandbox.runs import Run, Runs

_PREFIX = "/ic/api/integration/v1/"
_VERSION = "01.00.0000"
_ID = re.compile(r"(?P<code>[^/|%]+)%7C(?P<version>[^/]+)", re.IGNORECASE)
_CODE_WISH = re.compile(r"code:'([^']*)'")


class DeveloperApi:
    """Lists the integrations of `codes` and the runs of `runs`."""

    def __init__(self, codes: list[str], runs: Runs) -> None:
        self._codes = codes
        self._runs = runs
        self._paths: dict[str, Callable[[str, Arrival, str], Reply]] = {
            _PREFIX + "integrations": self._integrations,
            _PREFIX + "monitoring/instances": self._instances,
        }

    def is_mine(self, path: str) -> bool:
        """Whether the path belongs to the developer API."""
        return any(_is_below(prefix, path) for prefix in self._paths)

    def answer(self, arrival: Arrival, origin: str) -> Reply:
        """Answers a request whose bearer is good; `integrationInstance` is required, `origin` goes into links."""
        if arrival.method not in {"GET", "HEAD"}:
            return _error(405, "MethodNotAllowed", "The method is not allowed.", [("Allow", "GET, HEAD")])
        if not arrival.query.get("integrationInstance"):
            return _error(400, "InvalidParameter", "The parameter integrationInstance is required.")
        prefix = next(prefix for prefix in self._paths if _is_below(prefix, arrival.path))
        return self._paths[prefix](arrival.path.removeprefix(prefix).strip("/"), arrival, origin)

    def _integrations(self, rest: str, _arrival: Arrival, origin: str) -> Reply:
        if not rest:
            items = [_integration(code, origin) for code in self._codes]
            return json_reply(200, {"items": items, "totalResults": len(items), "hasMore": False})
        match = _ID.fullmatch(rest)
        if match is None or match["code"] not in self._codes or match["version"] != _VERSION:
            return _missing()
        return json_reply(200, _integration(match["code"], origin))

    def _instances(self, rest: str, arrival: Arrival, _origin: str) -> Reply:
        if rest:
            run = self._runs.find(rest)
            return _missing() if run is None else json_reply(200, _instance(run))
        wish = _CODE_WISH.search(arrival.query.get("q", ""))
        items = [_instance(run) for run in self._runs.latest(wish[1] if wish else None)]
        return json_reply(200, {"items": items, "totalResults": len(items), "hasMore": False})


def unauthenticated(challenge: str) -> Reply:
    """The 401 of the developer API, as the real one writes it."""
    words = "The required information to complete authentication was not provided."
    return _error(401, "NotAuthenticated", words, [("WWW-Authenticate", challenge)])


def _is_below(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _error(status: int, code: str, message: str, headers: Fields | None = None) -> Reply:
    return json_reply(status, {"code": code, "message": message}, headers)


def _missing() -> Reply:
    return _error(404, "NotFound", "The resource was not found.")


def _integration(code: str, origin: str) -> dict[str, Any]:
    name = f"{origin}{_PREFIX}integrations/{code}%7C{_VERSION}"
    links = [{"rel": "self", "href": name}, {"rel": "canonical", "href": name}]
    return {"id": f"{code}|{_VERSION}", "code": code, "version": _VERSION, "status": "ACTIVATED", "links": links}


def _instance(run: Run) -> dict[str, Any]:
    return {
        "instanceId": run.instance_id,
        "integrationId": run.code,
        "integrationVersion": _VERSION,
        "status": "COMPLETED" if run.status < 400 else "FAILED",
        "creationDate": datetime.fromtimestamp(run.began, UTC).isoformat(timespec="milliseconds"),
    }
