"""Diagnose a connection: name, TCP, egress proxy, TLS and its certificate."""

import re
from datetime import UTC, datetime

from gateway.content.untrusted_text import read_host
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.facts import ConnectionProbe, ServerCertificate
from gateway.diagnosis.finding import Finding, failed_finding

# Catalog code by a text in the reason of an `upstream-unreachable` (`network.dial`). The order matters: the text of an
# egress proxy failure may name a later step.
_CODE_BY_REASON = (
    (": egress proxy: the proxy answered 407", "proxy-login"),
    (": egress proxy:", "proxy"),
    (": name:", "dns"),
    ("certificate has expired", "tls-expired"),
    ("certificate is not yet valid", "tls-expired"),
    ("mismatch, certificate is not valid for", "tls-name"),
    ("not trusted", "tls-trust"),
    (": TLS:", "tls"),
    ("no connection within", "timeout"),
    (": connect:", "connect"),
)

# X509_V_ERR_… of OpenSSL (x509_vfy.h): not yet valid, expired, another host name, another IP address.
_CODE_BY_VERIFY_ERROR = {9: "tls-expired", 10: "tls-expired", 62: "tls-name", 64: "tls-name"}
_CODE_BY_STEP = {"name": "dns", "connect": "connect", "TLS": "tls", "time": "timeout", "files": "certificate"}

# In the names of certificate authorities of TLS inspection products, and of companies that use them.
_INSPECTION_ISSUER = re.compile(
    r"inspect|intercept|proxy|firewall|gateway|zscaler|netskope|blue ?coat|forti|palo ?alto|forcepoint|mcafee|skyhigh"
    r"|umbrella|sophos|check ?point|barracuda|\bcorp|enterprise|internal|company",
    re.IGNORECASE,
)
# Public authorities: if one is not trusted, the chain or this system's list of authorities is incomplete.
_PUBLIC_ISSUER = re.compile(
    r"digicert|oracle|sectigo|comodo|globalsign|entrust|let's encrypt|godaddy|amazon|google", re.IGNORECASE
)


def connection_failure_code(probe: ConnectionProbe) -> str:
    """Return the catalog code of a connection that failed."""
    if probe.step == "egress proxy":
        return "proxy-login" if "407" in probe.detail else "proxy"
    if probe.step == "TLS" and probe.verify_error:
        return _CODE_BY_VERIFY_ERROR.get(probe.verify_error) or (
            "tls-inspection" if _is_inspected(probe) else "tls-trust"
        )
    return _CODE_BY_STEP.get(probe.step, "network")


def diagnose_connection(probe: ConnectionProbe, subject: str, *, seen: str = "") -> Finding:
    """Return the finding of a connection; `seen` replaces the text of a failed one."""
    if not probe.step:
        named = "" if probe.origin in subject else f"{probe.origin} "
        return Finding(ok=True, subject=subject, seen=f"{named}{_describe_connection(probe)}", step="connection")
    failure = seen or f"{probe.origin}: {probe.step}: {probe.detail}{_describe_egress_proxy(probe)}"
    seen = f"{failure}{_describe_certificate(probe)}"
    code = connection_failure_code(probe)
    if code not in {"tls-trust", "tls-inspection"} or not _is_expired(probe):
        return failed_finding(code, subject, seen, step="connection")
    entry, other = MISTAKES[code], MISTAKES["tls-expired"]
    means = f"{entry.means} The certificate is not valid now, either: {other.means}"
    return failed_finding(code, subject, seen, step="connection", means=means, remedy=f"{entry.remedy} {other.remedy}")


def dial_failure_code(reason: str) -> str:
    """Return the catalog code for the reason of an `upstream-unreachable`."""
    return next((code for text, code in _CODE_BY_REASON if text in reason), "network")


def _describe_connection(probe: ConnectionProbe) -> str:
    parts = [probe.tls_version, f"through the egress proxy {probe.proxy}" if probe.proxy else ""]
    path = ", ".join(filter(None, parts))
    return f"reached{f' by {path}' if path else ''}{_describe_certificate(probe)}"


def _describe_egress_proxy(probe: ConnectionProbe) -> str:
    """Return the egress proxy as text; empty if there is none."""
    return f" (through the egress proxy {probe.proxy})" if probe.proxy else ""


def _is_expired(probe: ConnectionProbe) -> bool:
    """Return whether the certificate is expired: OpenSSL reports only the first error of an untrusted one."""
    certificate = probe.certificate
    return certificate is not None and not certificate.not_before <= probe.now <= certificate.not_after


def _describe_certificate(probe: ConnectionProbe) -> str:
    """Describe the certificate, so that a person can recognize it."""
    certificate = probe.certificate
    if certificate is None:
        return ""
    names = f" for {_join_names(certificate.names)}" if certificate.names else ""
    validity = _describe_validity(certificate, probe.now)
    return f"; certificate of {certificate.subject}{names}, issued by {certificate.issuer}, {validity}"


def _describe_validity(certificate: ServerCertificate, now: float) -> str:
    if now > certificate.not_after:
        return f"expired on {_format_time(certificate.not_after)}"
    is_early = now < certificate.not_before
    return (
        f"not valid before {_format_time(certificate.not_before)}"
        if is_early
        else f"until {_format_time(certificate.not_after)}"
    )


def _join_names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


def _format_time(instant: float) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M} UTC"


def _is_inspected(probe: ConnectionProbe) -> bool:
    """Return whether a TLS inspection proxy issued the certificate: Oracle's own come from public authorities."""
    if probe.certificate is None:
        return False
    host, issuer = read_host(probe.origin), probe.certificate.issuer
    is_not_oracle = host.endswith(".oraclecloud.com") and not _PUBLIC_ISSUER.search(issuer)
    return is_not_oracle or _INSPECTION_ISSUER.search(issuer) is not None
