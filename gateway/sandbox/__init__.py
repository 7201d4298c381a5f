"""An imitation of an Oracle identity domain and of an Oracle Integration Cloud (OIC) instance, on loopback.

One listener serves both, told apart by path. The *identity domain* (`identity`) authenticates *clients* (`clients`,
`client_auth`) by secrets, signed *assertions* (`assertions`) or certificates, judges *grants* (`grants`) and scopes
(`scopes`), remembers *sign-ins* (`signins`: codes, refresh tokens), keeps a token *budget* (`budget`) and signs RS256
tokens (`keys`). The *OIC instance* (`instance`) verifies every bearer (`access`), gives each run an *instance id*
(`runs`) and hands the request to a *flow*: a REST trigger (`flows`, `orders`, `big`), a SOAP trigger (`soap`) or the
developer API (`developer`). Whatever comes in is kept in a *journal* (`journal`); whatever goes out is a *reply*
(`replies`), in the instance's *spelling* of URLs (`spelling`), its content coding (`codings`) and with what vouches for
both (`validators`). *Switches* (`switches`, written as words: `settings`) turn on set-up mistakes, faults, and variants
that are not confirmed of the real thing. `server.Sandbox` owns the listener, with a *certificate* (`certificates`) and
an egress proxy (`egress`) where switches want them. A *mistake* (`mistakes`) is a set of switches and what is wrong in
the configuration of a gateway (`printing`); `playing` plays it. `command` is the `sandbox` verb. Nothing here imports
the rest of the gateway.

REST triggers, under `/ic/api/integration/v1/flows/rest/CODE/1.0/` and
`/ic/api/integration/v2/flows/rest/project/PROJECT/CODE/1.0/`:

=======  ==============================================================================================
ECHO     any method: JSON of what arrived; `/body`: the body streamed back byte for byte
ORDERS   a small business: GET list, GET `/ID`, POST creates (201, absolute Location, Content-Location, Link)
ASYNC    202, empty chunked body, the head of a real asynchronous reply
BYTES    `/N`: N bytes of `pattern(N)`, or a range of them; `?chunked=1` leaves out Content-Length
BIG      `/N`: JSON of about N MiB, `big(N, base)`, with links of its own and of others; `?links=0`: without
SLOW     `/SECONDS`: the reply comes that late, or when `switches.slow_gate` opens
STATUS   `/CODE`: that status; `?id=0` leaves the instance id out, `?retry_after=N`, `?location=URL`
DROP     `/before`, `/reset`, `/mid`, `/chunked`, `/close`: the connection dies before or within the reply
UPLOAD   takes a body of any size: replies its length and SHA-256
=======  ==============================================================================================

Every code also answers `/metadata`, `/metadata/swagger` and `/metadata/openapi` (`descriptions`; with `.yaml` at the
end as YAML). PROJORDERS is an ORDERS that lives in the project DEMO, and answers only under its URL.

The SOAP trigger is `/ic/ws/integration/v1/flows/soap/HELLO/1.0/`, its WSDL `?wsdl` (`wsdl`), in two parts
`?wsdl=split`; the name FAULT gets a fault. The developer API is
`/ic/api/integration/v1/integrations` and `…/monitoring/instances`: on the runtime host it redirects (307) to the design
host, which is the same listener under `localhost`; there it wants a token for `Sandbox.api_scope`.
"""

from gateway.sandbox.big_document import big
from gateway.sandbox.clients import DEFAULT_ID, DEFAULT_PASSWORD, DEFAULT_SECRET, DEFAULT_USER, RegisteredClient, User
from gateway.sandbox.flows import pattern, pattern_sha256
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
