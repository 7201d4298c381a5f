"""What goes wrong between here and Oracle Integration Cloud, said once: what is seen, what it means, what to do.

`check --live`, `/status`, the log and docs/setup-mistakes.md read this one table. Codes with an underscore are those of
OAuth (RFC 6749 §5.2, §4.1.2.1, RFC 8707 §2, OpenID Connect Core §3.1.2.6); all others are ours, and stable. `oauth`
decides by code alone what is tried again; `oic.diagnosis` decides from all that was seen which mistake it is. Pure.

Field names are those of Oracle's console: Identity & Security → Domains → the domain has *Integrated applications*
(with General Information and OAuth configuration of each) and *Oracle Cloud Services* (with the Application roles of
each instance); Developer Services → Integration → the instance has *Network Access*.
"""

from gateway.diagnosis.catalog.credential_mistakes import CREDENTIALS
from gateway.diagnosis.catalog.entry import CatalogEntry
from gateway.diagnosis.catalog.network_mistakes import NETWORK_MISTAKES
from gateway.diagnosis.catalog.route_mistakes import CHECKS, ROUTES

__all__ = ["MISTAKES", "CatalogEntry"]

MISTAKES: dict[str, CatalogEntry] = {**CREDENTIALS, **NETWORK_MISTAKES, **ROUTES, **CHECKS}
