"""The OIC instance: verifies the bearer, starts a run, hands the request to its flow."""

import re
import secrets
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from gateway.sandbox.access import Verify, refuses
from gateway.sandbox.arrivals import Arrival
from gateway.sandbox.clients import Client
from gateway.sandbox.developer import DeveloperApi, unauthenticated
from gateway.sandbox.flows import FLOWS, Flow, Visit, describe
from gateway.sandbox.journal import Call, Journal
from gateway.sandbox.orders import Orders
from gateway.sandbox.replies import Hangup, Reply, fault, not_found
from gateway.sandbox.runs import Runs
from gateway.sandbox.scopes import API, TRIGGER
from gateway.sandbox.soap import answer_soap
from gateway.sandbox.switches import Switches

REST_PATH = "/ic/api/integration/v1/flows/rest/{code}/1.0"
PROJECT_PATH = "/ic/api/integration/v2/flows/rest/project/{project}/{code}/1.0"
SOAP_PATH = "/ic/ws/integration/v1/flows/soap/{code}/1.0"

_TRIGGER = re.compile(
    r"/ic/(?P<kind>"
    r"api/integration/v1/flows/rest"
    r"|api/integration/v2/flows/rest/project/[^/]+"
    r"|ws/integration/v1/flows/soap"
    r")/(?P<code>[^/]+)/1\.0(?P<rest>/.*)?"
)
_SECURITY = ("Strict-Transport-Security", "max-age=15768000; includeSubDomains")


class Instance:
    """One OIC instance. `calls` is its journal; `origin` its own name, set once it listens."""

    def __init__(
        self, clients: Mapping[str, Client], switches: Switches, *, verify: Verify, now: Callable[[], float]
    ) -> None:
        self.calls: Journal[Call] = Journal()
        self.origin = ""
        self._clients = clients
        self._switches = switches
        self._verify = verify
        self._now = now
        self._runs = Runs()
        self._rest: dict[str, Flow] = {**FLOWS, "ORDERS": Orders().answer}
        self._soap: dict[str, Flow] = {"HELLO": answer_soap}
        self._developer = DeveloperApi([*self._rest, *self._soap], self._runs)

    def design_origin(self) -> str:
        """The origin of the design host: the switch, or the same listener under `localhost`."""
        parts = urlsplit(self.origin)
        return self._switches.design_origin or f"{parts.scheme}://localhost:{parts.port}"

    async def answer(self, arrival: Arrival, call: Call) -> Reply:
        """Answers one request; raises Hangup when the connection is to be closed in place of an answer."""
        if self._switches.drops > 0:
            self._switches.drops -= 1
            raise Hangup
        is_developer = self._developer.is_mine(arrival.path)
        reply = self._answer_developer(arrival) if is_developer else await self._answer_trigger(arrival, call)
        trace = "/".join(secrets.token_hex(16).upper() for _ in range(3))
        reply.headers += [_SECURITY, ("opc-request-id", trace)]
        return reply

    def _answer_developer(self, arrival: Arrival) -> Reply:
        design = self.design_origin()
        if arrival.headers.get("Host", "").lower() != urlsplit(design).netloc.lower():
            return Reply(307, [("Location", design + arrival.target)])
        challenge = self._challenge(arrival, API)
        return self._developer.answer(arrival, design) if challenge is None else unauthenticated(challenge)

    async def _answer_trigger(self, arrival: Arrival, call: Call) -> Reply:
        challenge = self._challenge(arrival, TRIGGER)
        if challenge is not None:
            return fault(401, "Unauthorized", [("WWW-Authenticate", challenge)])
        switches = self._switches
        if switches.fault_status:
            retry_after = [("Retry-After", switches.fault_retry_after)] if switches.fault_retry_after else []
            return fault(switches.fault_status, "The service does not answer.", retry_after)
        match = _TRIGGER.fullmatch(arrival.path)
        flow = None if match is None else self._flow(match)
        if match is None or flow is None:
            return not_found()
        return await self._run(flow, match, arrival=arrival, call=call)

    def _flow(self, match: re.Match[str]) -> Flow | None:
        flows = self._soap if match["kind"].startswith("ws") else self._rest
        is_about = flows is self._rest and (match["rest"] or "").startswith("/metadata")
        return describe if is_about and match["code"] in flows else flows.get(match["code"])

    async def _run(self, flow: Flow, match: re.Match[str], *, arrival: Arrival, call: Call) -> Reply:
        run = self._runs.begin(match["code"], call.at, self._switches.instance_ids)
        base = f"{self.origin}/ic/{match['kind']}/{match['code']}/1.0"
        visit = Visit(arrival, call, run, match["rest"] or "", base, self._switches)
        reply = await flow(visit)
        run.status = reply.status
        if reply.has_instance_id and self._switches.instance_ids != "none":
            call.instance_id = run.instance_id
            reply.headers.append(("x-oracle-ics-instance-id", run.instance_id))
        reply.headers.append(("oic-virtualservice", "true"))
        return reply

    def _challenge(self, arrival: Arrival, permission: str) -> str | None:
        if self._switches.refuse_bearers:
            return 'Bearer realm="OIC"'
        return refuses(
            arrival.headers.get("Authorization"),
            permission=permission,
            verify=self._verify,
            clients=self._clients,
            now=self._now(),
        )
