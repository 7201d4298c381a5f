"""The OIC instance: verifies the bearer, starts a run, hands the request to its flow."""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from gateway.sandbox.access import Refusal, Verify, refuses
from gateway.sandbox.clients import RegisteredClient
from gateway.sandbox.developer_api import DeveloperApi, Hosts, unauthenticated
from gateway.sandbox.flows import FLOWS, Flow, Visit, describe
from gateway.sandbox.journal import Call, Journal
from gateway.sandbox.orders import Orders
from gateway.sandbox.request import IncomingRequest
from gateway.sandbox.response_coding import encoded
from gateway.sandbox.responses import Hangup, SandboxResponse, fault, not_found
from gateway.sandbox.runs import Run, Runs
from gateway.sandbox.scope_check import API, TRIGGER
from gateway.sandbox.soap import answer_soap
from gateway.sandbox.switches import Switches
from gateway.sandbox.url_variants import Spelling
from gateway.sandbox.validators import validated

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
# Integrations that live in a project, and so answer under no other URL.
_PROJECTS = {"PROJORDERS": "DEMO"}
_HOME = "/ic/home/"  # the console: whoever has no session is sent to sign in
_SECURITY = ("Strict-Transport-Security", "max-age=15768000; includeSubDomains")


class Instance:
    """One OIC instance. `calls` is its journal; `origin` and the domain's `token_url` are set once it listens."""

    def __init__(
        self, clients: Mapping[str, RegisteredClient], switches: Switches, *, verify: Verify, now: Callable[[], float]
    ) -> None:
        self.calls: Journal[Call] = Journal()
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
        """The origin of the design host: the switch, or the same listener under `localhost`."""
        parts = urlsplit(self.origin)
        return self._switches.design_origin or f"{parts.scheme}://localhost:{parts.port}"

    async def answer(self, arrival: IncomingRequest, call: Call) -> SandboxResponse:
        """Answers one request; raises Hangup when the connection is to be closed in place of an answer."""
        if self._switches.drops > 0:
            self._switches.drops -= 1
            raise Hangup
        if not self._switches.allowlisted:
            return self._not_allowed()
        if arrival.path.startswith(_HOME):
            return SandboxResponse(302, [("Location", f"{urljoin(self.token_url, 'authorize')}?response_type=code")])
        is_developer = self._developer.is_mine(arrival.path)
        reply = self._answer_developer(arrival) if is_developer else await self._answer_trigger(arrival, call)
        trace = "/".join(secrets.token_hex(16).upper() for _ in range(3))
        reply.headers += [_SECURITY, ("opc-request-id", trace)]
        return reply

    def _answer_developer(self, arrival: IncomingRequest) -> SandboxResponse:
        design = self.design_origin()
        if arrival.headers.get("Host", "").lower() != urlsplit(design).netloc.lower():
            return SandboxResponse(307, [("Location", design + arrival.target)])
        refusal = self._refusal(arrival, API)
        if refusal is not None:
            return unauthenticated(refusal)
        return self._written(self._developer.answer(arrival, self._hosts()), arrival)

    def _not_allowed(self) -> SandboxResponse:
        if self._switches.allowlist_refusal == "reset":
            raise Hangup(is_reset=True)
        words = b"<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1></body></html>"
        return SandboxResponse(403, [("Content-Type", "text/html")], words)

    async def _answer_trigger(self, arrival: IncomingRequest, call: Call) -> SandboxResponse:
        refusal = self._refusal(arrival, TRIGGER)
        if refusal is not None:
            challenge = [("WWW-Authenticate", refusal.challenge)] if refusal.status == 401 else []
            return fault(refusal.status, HTTPStatus(refusal.status).phrase, challenge)
        switches = self._switches
        if switches.cut_replies:
            raise Hangup
        if switches.reply_delay:
            await asyncio.sleep(switches.reply_delay)
        if switches.fault_status:
            return self._fault()
        match = _TRIGGER.fullmatch(arrival.path)
        flow = None if match is None else self._flow(match)
        if match is None or flow is None:
            return not_found()
        return await self._run(flow, match, arrival=arrival, call=call)

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

    async def _run(self, flow: Flow, match: re.Match[str], *, arrival: IncomingRequest, call: Call) -> SandboxResponse:
        run = self._begun(flow, match["code"], arrival=arrival, at=call.at)
        base = f"{self._hosts().runtime}/ic/{match['kind']}/{match['code']}/1.0"
        visit = Visit(arrival, call, run, match["rest"] or "", base, self.token_url, self._spelling(), self._switches)
        reply = self._written(await flow(visit), arrival)
        run.status = reply.status
        if reply.has_instance_id:
            call.instance_id = visit.told_id
        if call.instance_id and self._switches.instance_ids != "body":
            reply.headers.append(("x-oracle-ics-instance-id", run.instance_id))
        reply.headers.append(("oic-virtualservice", "true"))
        return reply

    def _begun(self, flow: Flow, code: str, *, arrival: IncomingRequest, at: float) -> Run:
        """What describes an integration runs none: no id, and nothing for the monitoring."""
        if flow is describe or (flow is answer_soap and arrival.method == "GET"):
            return Run("", code, at)
        return self._runs.begin(code, at, self._switches.instance_ids)

    def _written(self, reply: SandboxResponse, arrival: IncomingRequest) -> SandboxResponse:
        """What was answered, as the switches have it written: URLs, then the coding, then what vouches for both."""
        coded = encoded(self._spelling().reply(reply), arrival.headers.get("Accept-Encoding"), self._switches)
        return validated(coded, arrival)

    def _hosts(self) -> Hosts:
        return Hosts(self._switches.runtime_origin or self.origin, self.design_origin())

    def _spelling(self) -> Spelling:
        hosts = self._hosts()
        return Spelling(self._switches.url_style, (hosts.runtime, hosts.design))

    def _path(self, code: str) -> str:
        if code in self._soap:
            return SOAP_PATH.format(code=code) + "/"
        project = _PROJECTS.get(code)
        return (PROJECT_PATH if project else REST_PATH).format(code=code, project=project) + "/"

    def _refusal(self, arrival: IncomingRequest, permission: str) -> Refusal | None:
        return refuses(
            arrival.headers.get("Authorization"),
            permission=permission,
            verify=self._verify,
            clients=self._clients,
            switches=self._switches,
            now=self._now(),
        )
