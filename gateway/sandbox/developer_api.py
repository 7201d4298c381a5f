"""The developer API: integrations and monitoring, on the design host only."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.sandbox.access import Refusal
from gateway.sandbox.http_messages import Fields, IncomingRequest, SandboxResponse, json_response
from gateway.sandbox.runs import Run, Runs

_PREFIX = "/ic/api/integration/v1/"
_HOME = "/ic/integration/home/faces/link?integration="
_VERSION = "01.00.0000"
_ID = re.compile(r"(?P<code>[^/|%]+)%7C(?P<version>[^/]+)", re.IGNORECASE)
_CODE_FILTER = re.compile(r"code:'([^']*)'")


@dataclass(frozen=True, slots=True)
class Hosts:
    """The origins in links, like `https://acme.integration.us-phoenix-1.ocp.oraclecloud.com:443`."""

    runtime: str
    design: str


class DeveloperApi:
    """Lists the integrations and `runs`; `paths` are those of the triggers, by code."""

    def __init__(self, paths: Mapping[str, str], runs: Runs) -> None:
        self._triggers = paths
        self._runs = runs
        self._paths: dict[str, Callable[[str, IncomingRequest, Hosts], SandboxResponse]] = {
            _PREFIX + "integrations": self._integrations,
            _PREFIX + "monitoring/instances": self._instances,
        }

    def handles(self, path: str) -> bool:
        """Return whether the path belongs to the developer API."""
        return any(_is_below(prefix, path) for prefix in self._paths)

    def answer(self, request: IncomingRequest, hosts: Hosts) -> SandboxResponse:
        """Answer an authorized request; `integrationInstance` is required [C], `limit` and `offset` work."""
        if request.method not in {"GET", "HEAD"}:
            return _error(405, "MethodNotAllowed", "The method is not allowed.", [("Allow", "GET, HEAD")])
        if not request.query.get("integrationInstance"):
            return _error(400, "InvalidParameter", "The parameter integrationInstance is required.")
        prefix = next(prefix for prefix in self._paths if _is_below(prefix, request.path))
        return self._paths[prefix](request.path.removeprefix(prefix).strip("/"), request, hosts)

    def _integrations(self, rest: str, request: IncomingRequest, hosts: Hosts) -> SandboxResponse:
        if not rest:
            return _page([self._integration(code, hosts) for code in self._triggers], request, hosts)
        match = _ID.fullmatch(rest)
        if match is None or match["code"] not in self._triggers or match["version"] != _VERSION:
            return _not_found()
        return json_response(200, self._integration(match["code"], hosts))

    def _instances(self, rest: str, request: IncomingRequest, hosts: Hosts) -> SandboxResponse:
        if rest:
            run = self._runs.find(rest)
            return _not_found() if run is None else json_response(200, _instance(run, hosts))
        code_filter = _CODE_FILTER.search(request.query.get("q", ""))
        return _page(
            [_instance(run, hosts) for run in self._runs.latest(code_filter[1] if code_filter else None)],
            request,
            hosts,
        )

    def _integration(self, code: str, hosts: Hosts) -> dict[str, Any]:
        name = f"{hosts.design}{_PREFIX}integrations/{code}%7C{_VERSION}"
        links = [{"rel": "self", "href": name}, {"rel": "canonical", "href": name}]
        return {
            "id": f"{code}|{_VERSION}",
            "code": code,
            "version": _VERSION,
            "status": "ACTIVATED",
            "endPointURI": f"{hosts.runtime}{self._triggers[code]}",
            "redirect-url": f"{hosts.design}{_HOME}{code}",
            "links": links,
        }


def unauthenticated(refusal: Refusal) -> SandboxResponse:
    """Return the 401 of the developer API as the real service writes it [C], or its 403 [U]."""
    if refusal.status == 403:
        return _error(403, "NotAuthorized", "The user is not authorized to perform this operation.")
    message = "The required information to complete authentication was not provided."
    return _error(401, "NotAuthenticated", message, [("WWW-Authenticate", refusal.challenge)])


def _is_below(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _error(status: int, code: str, message: str, headers: Fields | None = None) -> SandboxResponse:
    return json_response(status, {"code": code, "message": message}, headers)


def _not_found() -> SandboxResponse:
    return _error(404, "NotFound", "The resource was not found.")


def _page(items: list[dict[str, Any]], request: IncomingRequest, hosts: Hosts) -> SandboxResponse:
    first, most = (_count(request.query.get(name, "")) for name in ("offset", "limit"))
    end = len(items) if most is None else (first or 0) + most
    content = {
        "items": items[first or 0 : end],
        "totalResults": len(items),
        "hasMore": end < len(items),
        "links": [{"rel": "self", "href": hosts.design + request.path}],
    }
    return json_response(200, content)


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _instance(run: Run, hosts: Hosts) -> dict[str, Any]:
    return {
        "links": [{"rel": "self", "href": f"{hosts.design}{_PREFIX}monitoring/instances/{run.instance_id}"}],
        "instanceId": run.instance_id,
        "integrationId": run.code,
        "integrationVersion": _VERSION,
        "status": "COMPLETED" if run.status < 400 else "FAILED",
        "creationDate": datetime.fromtimestamp(run.started_at, UTC).isoformat(timespec="milliseconds"),
    }
