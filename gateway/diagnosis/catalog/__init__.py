"""The catalog of set-up mistakes: for each code the symptom, the meaning and the remedy. Pure.

An `entry` is in `caller_mistakes`, `credential_mistakes`, `network_mistakes`, `route_mistakes` or `service_mistakes`.
`check --live`, `/status`, the log and docs/setup-mistakes.md use this table. Codes with an underscore are those of
OAuth (RFC 6749 §5.2, §4.1.2.1, RFC 8707 §2, OpenID Connect Core §3.1.2.6); all others are the gateway's, and stable.
`oauth` decides retries by the code alone.

Field names are those of Oracle's console: Identity & Security → Domains → the domain has *Integrated applications*
(with General Information and OAuth configuration of each) and *Oracle Cloud Services* (with the Application roles of
each instance); Developer Services → Integration → the instance has *Network Access*.
"""

from gateway.diagnosis.catalog.caller_mistakes import CALLERS
from gateway.diagnosis.catalog.credential_mistakes import CREDENTIALS
from gateway.diagnosis.catalog.entry import CatalogEntry
from gateway.diagnosis.catalog.network_mistakes import NETWORK_MISTAKES
from gateway.diagnosis.catalog.route_mistakes import CHECKS, ROUTES
from gateway.diagnosis.catalog.service_mistakes import SERVICES

__all__ = ["MISTAKES", "CatalogEntry"]

MISTAKES: dict[str, CatalogEntry] = {**CREDENTIALS, **NETWORK_MISTAKES, **ROUTES, **SERVICES, **CALLERS, **CHECKS}
