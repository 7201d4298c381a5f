"""An imitation of an Oracle identity domain and an Oracle Integration Cloud (OIC) instance, on loopback.

`Sandbox` (`sandbox_server`) owns one listener for both and selects by path; `certificates` and a `refusing_proxy` serve
the switches that need them. It parses a request into an `IncomingRequest` and sends a `SandboxResponse`
(`http_messages`), and records what arrives in a `journal`.

The identity domain (`identity_domain_server`) knows `clients`; `client_check` authenticates them by secret, assertion
or certificate; `app_administration` gives them new secrets; `granting` authorizes each grant within the rate limit;
`scope_check` checks scopes; `sign_in_sessions` holds codes and refresh tokens; `access_tokens` makes and signs RS256
tokens; refusals are `oauth_errors`. The OIC
`instance` verifies each bearer (`access`), starts a run with an instance id (`runs`) within its limits (`run_limits`),
and passes the request to a flow: a REST trigger (`flows`, `orders`, with `api_descriptions`), the SOAP trigger (`soap`)
or the developer API (`developer_api`). `response_variants` then writes URLs, content coding and validators as the
switches require.

`switches` turn on set-up mistakes, faults, and variants that are not confirmed for the real services. `mistakes` lists
set-up mistakes as switches and the wrong configuration (`config_file`) of a gateway; a `scenario` runs one of them. The
verb `sandbox` is in `gateway.cli`. Nothing here imports the rest of the gateway.

REST triggers, under `/ic/api/integration/v1/flows/rest/CODE/1.0/` and
`/ic/api/integration/v2/flows/rest/project/PROJECT/CODE/1.0/`:

=======  ==============================================================================================
ECHO     any method: JSON of what arrived; `/body`: the body streamed back byte for byte
ORDERS   a small business: GET list, GET `/ID`, POST creates (201, absolute Location, Content-Location, Link)
ASYNC    202, empty chunked body, the head of a real asynchronous response
BYTES    `/N`: N bytes of `pattern(N)`, or a range of them; `?chunked=1` leaves out Content-Length
BIG      `/N`: JSON of about N MiB, `big(N, base)`, with own and other links; `?links=0`: without
SLOW     `/SECONDS`: the response is delayed by so many seconds, or until `switches.slow_gate` opens
STATUS   `/CODE`: that status; `?id=0` leaves out the instance id, `?retry_after=N`, `?location=URL`
DROP     `/before`, `/reset`, `/mid`, `/chunked`, `/close`: the connection ends before or within the response
UPLOAD   accepts a body of any size: returns its length and SHA-256
=======  ==============================================================================================

Every code also answers `/metadata`, `/metadata/swagger` and `/metadata/openapi` (with the suffix `.yaml` as YAML).
PROJORDERS is an ORDERS in the project DEMO and answers only under that URL.

The SOAP trigger is `/ic/ws/integration/v1/flows/soap/HELLO/1.0/`, its WSDL `?wsdl`, in two parts `?wsdl=split`; the
name FAULT causes a fault. The developer API is `/ic/api/integration/v1/integrations` and `…/monitoring/instances`: on
the runtime host it redirects (307) to the design host, the same listener under `localhost`, which requires a token for
`Sandbox.api_scope`.
"""

from gateway.sandbox.clients import DEFAULT_ID, DEFAULT_PASSWORD, DEFAULT_SECRET, DEFAULT_USER, RegisteredClient, User
from gateway.sandbox.flows import big, pattern, pattern_sha256
from gateway.sandbox.journal import Call, Journal, TokenCall
from gateway.sandbox.sandbox_server import Sandbox
from gateway.sandbox.scope_check import API, AUDIENCE, OTHER_AUDIENCE, TRIGGER
from gateway.sandbox.switches import Switches

__all__ = [
    "API",
    "AUDIENCE",
    "DEFAULT_ID",
    "DEFAULT_PASSWORD",
    "DEFAULT_SECRET",
    "DEFAULT_USER",
    "OTHER_AUDIENCE",
    "TRIGGER",
    "Call",
    "Journal",
    "RegisteredClient",
    "Sandbox",
    "Switches",
    "TokenCall",
    "User",
    "big",
    "pattern",
    "pattern_sha256",
]
