"""Administration of applications in the identity domain: find one, and give it a new client secret (SCIM, RFC 7644).

The old secret ends at once [C]. A bearer without the role is refused with 401 [U].
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.access_tokens import client_guid
from gateway.sandbox.clients import RegisteredClient
from gateway.sandbox.http_messages import Hangup, IncomingRequest, SandboxResponse, json_response
from gateway.sandbox.journal import Journal, SecretCall
from gateway.sandbox.scope_check import ADMINISTRATION
from gateway.sandbox.switches import Switches

APPS_PATH = "/admin/v1/Apps"
REGENERATOR_PATH = "/admin/v1/AppClientSecretRegenerator"

_REGENERATOR_SCHEMA = "urn:ietf:params:scim:schemas:oracle:idcs:AppClientSecretRegenerator"
_ERROR_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"
_LIST_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_MEDIA_TYPES = ("application/scim+json", "application/json")
_FILTER = re.compile(r'name eq "([^"\\]*)"', re.IGNORECASE)


class AppAdministration:
    """Administers `clients`. `verify` returns the claims of a valid access token, `now` is Unix seconds."""

    def __init__(
        self,
        clients: MutableMapping[str, RegisteredClient],
        switches: Switches,
        *,
        verify: Callable[[str], Mapping[str, Any] | None],
        now: Callable[[], float],
    ) -> None:
        self.paths: dict[str, Callable[[IncomingRequest], Awaitable[SandboxResponse]]] = {
            APPS_PATH: self._search,
            REGENERATOR_PATH: self._regenerate,
        }
        self.secret_requests: Journal[SecretCall] = Journal()
        self._clients = clients
        self._switches = switches
        self._verify = verify
        self._now = now

    async def _search(self, request: IncomingRequest) -> SandboxResponse:
        if not self._is_administrator(request):
            return _unauthorized()
        wanted = _FILTER.fullmatch(request.query.get("filter", ""))
        if request.method != "GET" or wanted is None:
            return _error(400, "The filter is not supported")
        found = [{"id": client_guid(name), "name": name} for name in self._clients if name == wanted[1]]
        return json_response(200, {"schemas": [_LIST_SCHEMA], "totalResults": len(found), "Resources": found})

    async def _regenerate(self, request: IncomingRequest) -> SandboxResponse:
        body = await request.json()
        call = SecretCall(at=self._now(), app_id=str(body.get("appId", "")))
        self.secret_requests.add(call)
        if self._switches.cut_gate is not None:
            await self._switches.cut_gate.wait()
        if not self._is_administrator(request):
            return _unauthorized()
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if request.method != "POST" or media_type not in _MEDIA_TYPES or body.get("schemas") != [_REGENERATOR_SCHEMA]:
            return _error(400, "The request is not valid")
        name = next((name for name in self._clients if client_guid(name) == call.app_id), None)
        if name is None:
            return _error(404, "The application does not exist")
        secret = f"idcscs-{secrets.token_hex(16)}"
        self._clients[name] = replace(self._clients[name], secret=secret)
        call.is_done = True
        if self._switches.secret_gate is not None:
            await self._switches.secret_gate.wait()
        if self._switches.lost_secrets:
            self._switches.lost_secrets -= 1
            raise Hangup
        content = {"schemas": [_REGENERATOR_SCHEMA], "appId": call.app_id, "clientSecret": secret}
        return json_response(201, content, [("Cache-Control", "no-store")])

    def _is_administrator(self, request: IncomingRequest) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        claims = self._verify(token.strip()) if scheme.lower() == "bearer" else None
        is_valid = claims is not None and claims["exp"] > self._now() and ADMINISTRATION in claims["scope"].split()
        return is_valid and self._switches.application_administrator


def _unauthorized() -> SandboxResponse:
    return _error(401, "You are not authorized to access the resource.")


def _error(status: int, detail: str) -> SandboxResponse:
    return json_response(status, {"schemas": [_ERROR_SCHEMA], "detail": detail, "status": str(status)})
