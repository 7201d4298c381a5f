"""From the results of probes to their meaning and remedy, for the mistakes that people make in setting up OIC. Pure.

`facts` are frozen results: of a connection (`ConnectionProbe`), a credential (`CredentialProbe`), a request to an
upstream (`RouteProbe`). `gateway.checks` gathers them. `connections`, `credential_findings` and `route_findings` turn
them into a `Finding` (`finding`), which names an entry of the `catalog` by its code. `route_health` is the current
problem of a route, from callers' requests, and `service_findings` that of a service.
"""

from gateway.diagnosis.finding import Finding, failed_finding, findings_document, skipped_finding

__all__ = ["Finding", "failed_finding", "findings_document", "skipped_finding"]
