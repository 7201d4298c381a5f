"""Turns the results of probes into findings with meaning and remedy, for common mistakes in the set-up of OIC. Pure.

`facts` are frozen results: of a connection (`ConnectionProbe`), a credential (`CredentialProbe`), a request to an
upstream (`RouteProbe`). `gateway.checks` gathers them. `connections`, `credential_findings` and `route_findings` turn
them into a `Finding` (`finding`), which names an entry of the `catalog` by its code. `route_health` holds the
current problem of a route, from callers' requests; `service_findings` has the current problem of a service,
and `limit_findings` that of a caller with limits.
"""

from gateway.diagnosis.finding import Finding, failed_finding, findings_document, skipped_finding

__all__ = ["Finding", "failed_finding", "findings_document", "skipped_finding"]
