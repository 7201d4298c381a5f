"""The OIC instance: verifies the bearer, starts a run, passes the request to its flow."""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from gateway.sandbox.access import Refusal, Verify, find_refusal
from gateway.sandbox.clients import RegisteredClient
from gateway.sandbox.developer_api import DeveloperApi, Hosts, unauthenticated
from gateway.sandbox.flows import FLOWS, Flow, FlowCall, describe
from gateway.sandbox.http_messages import Hangup, IncomingRequest, SandboxResponse, fault, not_found
from gateway.sandbox.journal import Call, Journal
from gateway.sandbox.orders import Orders
from gateway.sandbox.response_variants import UrlVariant, add_validators, apply_content_coding
from gateway.sandbox.run_limits import RunLimits, too_busy
from gateway.sandbox.runs import Run, Runs
from gateway.sandbox.scope_check import API, TRIGGER
from gateway.sandbox.soap import answer_soap
from gateway.sandbox.switches import Switches

REST_PATH = "/ic/api/integration/v1/flows/rest/{code}/1.0"
PROJECT_PATH = "/ic/api/integration/v2/flows/rest/project/{project}/{code}/1.0"
SOAP_PATH = "/ic/ws/integration/v1/flows/soap/{code}/1.0"

_TRIGGER = re.compile(
    r"/ic/(?P<kind>"
    r"api/integration/v1/flows/rest"
    r"|api/integration/v2/flows/rest/project/(?P<project>[^/]+)"
    r"|ws/integration/v1/flows/soap"
    r")/(?P<code>[^/]+)/1\.0(?P<rest>/.*)?"
)
# Integrations in a project, which answer under no other URL.
_PROJECTS = {"PROJORDERS": "DEMO"}
_HOME = "/ic/home/"  # the console: redirects to the sign-in without a session
_SECURITY = ("Strict-Transport-Security", "max-age=15768000; includeSubDomains")


class Instance:
    """One OIC instance. `calls` is its journal, `limits` counts its runs; `origin` and the domain's `token_url` are set
    when it listens.
    """

    def __init__(
        self, clients: Mapping[str, RegisteredClient], switches: Switches, *, verify: Verify, now: Callable[[], float]
    ) -> None:
        self.calls: Journal[Call] = Journal()
        self.limits = RunLimits()
        self.origin = self.token_url = ""
        self._clients = clients
        self._switches = switches
        self._verify = verify
        self._now = now
        self._runs = Runs()
        self._rest: dict[str, Flow] = {**FLOWS, "ORDERS": Orders().answer, "PROJORDERS": Orders().answer}
        self._soap: dict[str, Flow] = {"HELLO": answer_soap}
        self._developer = DeveloperApi({code: self._path(code) for code in (*self._rest, *self._soap)}, self._runs)

    def design_origin(self) -> str:
        """Return the origin of the design host: the switch, or the same listener under `localhost`."""
        parts = urlsplit(self.origin)
        return self._switches.design_origin or f"{parts.scheme}://localhost:{parts.port}"

    async def answer(self, request: IncomingRequest, call: Call) -> SandboxResponse:
        """Answer one request. Raise Hangup if the connection must be closed without a response."""
        if self._switches.drops > 0:
            self._switches.drops -= 1
            raise Hangup
        if not self._switches.allowlisted:
            return self._not_allowed()
        if request.path.startswith(_HOME):
            return SandboxResponse(302, [("Location", f"{urljoin(self.token_url, 'authorize')}?response_type=code")])
        is_developer = self._developer.handles(request.path)
        response = self._answer_developer(request) if is_developer else await self._answer_trigger(request, call)
        trace = "/".join(secrets.token_hex(16).upper() for _ in range(3))
        response.headers += [_SECURITY, ("opc-request-id", trace)]
        return response

    def _answer_developer(self, request: IncomingRequest) -> SandboxResponse:
        design = self.design_origin()
        if request.headers.get("Host", "").lower() != urlsplit(design).netloc.lower():
            return SandboxResponse(307, [("Location", design + request.target)])
        refusal = self._refusal(request, API)
        if refusal is not None:
            return unauthenticated(refusal)
        return self._apply_variants(self._developer.answer(request, self._hosts()), request)

    def _not_allowed(self) -> SandboxResponse:
        if self._switches.allowlist_refusal == "reset":
            raise Hangup(is_reset=True)
        words = b"<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1></body></html>"
        return SandboxResponse(403, [("Content-Type", "text/html")], words)

    async def _answer_trigger(self, request: IncomingRequest, call: Call) -> SandboxResponse:
        refusal = self._refusal(request, TRIGGER)
        if refusal is not None:
            challenge = [("WWW-Authenticate", refusal.challenge)] if refusal.status == 401 else []
            return fault(refusal.status, HTTPStatus(refusal.status).phrase, challenge)
        switches = self._switches
        if switches.cut_replies:
            raise Hangup
        match = _TRIGGER.fullmatch(request.path)
        if match is not None and match["code"] == "ASYNC":
            now, seconds = self._now(), switches.async_run_time
            if not self.limits.enqueue(switches.async_depth, now=now, seconds=seconds):
                return too_busy()
            return await self._answer_flow(match, request=request, call=call)
        if match is not None and (match["rest"] or "").startswith("/metadata"):
            return await self._answer_flow(match, request=request, call=call)
        if not self.limits.begin(switches.concurrency):
            return too_busy()
        try:
            return await self._answer_flow(match, request=request, call=call)
        finally:
            self.limits.end()

    async def _answer_flow(
        self, match: re.Match[str] | None, *, request: IncomingRequest, call: Call
    ) -> SandboxResponse:
        switches = self._switches
        if switches.reply_delay:
            await asyncio.sleep(switches.reply_delay)
        if switches.fault_status:
            return self._fault()
        flow = None if match is None else self._flow(match)
        if match is None or flow is None:
            return not_found()
        return await self._run(flow, match, request=request, call=call)

    def _fault(self) -> SandboxResponse:
        switches = self._switches
        fields = (("Retry-After", switches.fault_retry_after), ("Location", switches.fault_location))
        return fault(switches.fault_status, "The service does not answer.", [field for field in fields if field[1]])

    def _flow(self, match: re.Match[str]) -> Flow | None:
        if match["project"] != _PROJECTS.get(match["code"], match["project"]):
            return None
        flows = self._soap if match["kind"].startswith("ws") else self._rest
        is_about = flows is self._rest and (match["rest"] or "").startswith("/metadata")
        return describe if is_about and match["code"] in flows else flows.get(match["code"])

    async def _run(self, flow: Flow, match: re.Match[str], *, request: IncomingRequest, call: Call) -> SandboxResponse:
        run = self._begin_run(flow, match["code"], request=request, at=call.at)
        base = f"{self._hosts().runtime}/ic/{match['kind']}/{match['code']}/1.0"
        flow_call = FlowCall(
            request, call, run, match["rest"] or "", base, self.token_url, self._url_variant(), self._switches
        )
        response = self._apply_variants(await flow(flow_call), request)
        run.status = response.status
        if response.has_instance_id:
            call.instance_id = flow_call.body_instance_id
        if call.instance_id and self._switches.instance_ids != "body":
            response.headers.append(("x-oracle-ics-instance-id", run.instance_id))
        response.headers.append(("oic-virtualservice", "true"))
        return response

    def _begin_run(self, flow: Flow, code: str, *, request: IncomingRequest, at: float) -> Run:
        """Start a run. A description of an integration starts none: it has no id and is not in the monitoring."""
        if flow is describe or (flow is answer_soap and request.method == "GET"):
            return Run("", code, at)
        return self._runs.begin(code, at, self._switches.instance_ids)

    def _apply_variants(self, response: SandboxResponse, request: IncomingRequest) -> SandboxResponse:
        """Apply the switches to a response: URLs, then the coding, then validators of both."""
        response = self._url_variant().rewrite_response(response)
        coded = apply_content_coding(response, request.headers.get("Accept-Encoding"), self._switches)
        return add_validators(coded, request)

    def _hosts(self) -> Hosts:
        return Hosts(self._switches.runtime_origin or self.origin, self.design_origin())

    def _url_variant(self) -> UrlVariant:
        hosts = self._hosts()
        return UrlVariant(self._switches.url_style, (hosts.runtime, hosts.design))

    def _path(self, code: str) -> str:
        if code in self._soap:
            return SOAP_PATH.format(code=code) + "/"
        project = _PROJECTS.get(code)
        return (PROJECT_PATH if project else REST_PATH).format(code=code, project=project) + "/"

    def _refusal(self, request: IncomingRequest, permission: str) -> Refusal | None:
        return find_refusal(
            request.headers.get("Authorization"),
            permission=permission,
            verify=self._verify,
            clients=self._clients,
            switches=self._switches,
            now=self._now(),
        )
