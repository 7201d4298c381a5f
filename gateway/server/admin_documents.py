"""Parts of the answers of the admin port: readiness, routes, credentials, and why a peer is rejected."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import asdict

from gateway.content.untrusted_text import read_authority
from gateway.diagnosis import Finding
from gateway.oauth.store import StoreHealth
from gateway.oauth.token_status import Readiness
from gateway.proxy.admission import Admission
from gateway.proxy.route_table import Route


def readiness_document(results: Mapping[str, Readiness], store: StoreHealth) -> tuple[bool, dict[str, Any]]:
    """Return whether every credential is ready, and the document of `/readyz`."""
    credentials = {
        name: {"state": _credential_state(result), **(_readiness_problem(result) if result.code else {})}
        for name, result in results.items()
    }
    ready = all(result.ok for result in results.values())
    state = "unready" if not ready else "ready" if store.ok else "degraded"
    return ready, {"state": state, "credentials": credentials, "store": asdict(store)}


def route_status(route: Route) -> dict[str, Any]:
    """Return a route as `/status` shows it."""
    return {
        "name": route.name,
        "path": (route.path or "") + "/",
        "upstream": f"{route.upstream_url.scheme}://{route.upstream_url.authority}{route.upstream_url.path}",
        "credential": route.credential,
        "methods": sorted(route.methods),
        "problem": route.health.as_status(),
    }


def credential_status(status: dict[str, Any], finding: Finding | None) -> dict[str, Any]:
    """Return the status of a token source with its diagnosis; `last_error` has the same texts."""
    if finding is None:
        return status | {"problem": None}
    problem = {key: getattr(finding, key) for key in ("code", "seen", "means", "remedy")}
    error = status["last_error"]
    last_error = error | problem if isinstance(error, dict) else error
    return status | {"last_error": last_error, "problem": problem}


def rejection_reason(
    admission: Admission, peer: str | None, host: str, *, console_host: str | None = None
) -> str | None:
    """Return why the admin port rejects this peer (None: on a unix socket), or None if it may call. `console_host` is
    accepted in Host, too.
    """
    if not admission.accepts_address(peer):
        return "this address may not call; add its network to `allow`"
    if console_host is not None and (named := read_authority(host)) is not None and named.host == console_host:
        return None
    if not admission.accepts_host(host.encode("utf-8", "replace")):
        return "this Host is not a name of the gateway; add it to `hosts`"
    return None


def _credential_state(result: Readiness) -> str:
    if result.code == "sign-in":
        return "sign-in-needed"
    return "ok" if result.ok else "no-token"


def _readiness_problem(result: Readiness) -> dict[str, Any]:
    wait = None if result.next_try_s is None else round(result.next_try_s, 1)
    return {"code": result.code, "error": result.why, "remedy": result.remedy, "next_try_s": wait}
