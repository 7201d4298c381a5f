"""Diagnose a connection: name, TCP, egress proxy, TLS and its certificate."""

import re
from datetime import UTC, datetime

from gateway.content.foreign_text import host_of
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.facts import Certificate, ConnectionProbe
from gateway.diagnosis.finding import Finding, failed

# Catalog code by a text in the reason of an `upstream-unreachable` (`network.dial`). The order matters: the text of an
# egress proxy failure may name a later step.
_SIGNS = (
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
_VERIFY = {9: "tls-expired", 10: "tls-expired", 62: "tls-name", 64: "tls-name"}
_STEPS = {"name": "dns", "connect": "connect", "TLS": "tls", "time": "timeout", "files": "certificate"}

# In the names of certificate authorities of TLS inspection products, and of companies that use them.
_INSPECTION = re.compile(
    r"inspect|intercept|proxy|firewall|gateway|zscaler|netskope|blue ?coat|forti|palo ?alto|forcepoint|mcafee|skyhigh"
    r"|umbrella|sophos|check ?point|barracuda|\bcorp|enterprise|internal|company",
    re.IGNORECASE,
)
# Public authorities: if one is not trusted, the chain or this system's list of authorities is incomplete.
_PUBLIC = re.compile(
    r"digicert|oracle|sectigo|comodo|globalsign|entrust|let's encrypt|godaddy|amazon|google", re.IGNORECASE
)


def code_of(contact: ConnectionProbe) -> str:
    """Return the catalog code of a connection that failed."""
    if contact.step == "egress proxy":
        return "proxy-login" if "407" in contact.detail else "proxy"
    if contact.step == "TLS" and contact.verify:
        return _VERIFY.get(contact.verify) or ("tls-inspection" if _is_inspected(contact) else "tls-trust")
    return _STEPS.get(contact.step, "network")


def diagnose_connection(contact: ConnectionProbe, subject: str, *, seen: str = "") -> Finding:
    """Return the finding of a connection; `seen` replaces the text of one that failed."""
    if not contact.step:
        named = "" if contact.origin in subject else f"{contact.origin} "
        return Finding(ok=True, subject=subject, seen=f"{named}{_reached(contact)}", step="connection")
    seen = (
        f"{seen or f'{contact.origin}: {contact.step}: {contact.detail}{_by(contact)}'}{_describe_certificate(contact)}"
    )
    code = code_of(contact)
    if code not in {"tls-trust", "tls-inspection"} or not _is_expired(contact):
        return failed(code, subject, seen, step="connection")
    entry, other = MISTAKES[code], MISTAKES["tls-expired"]
    means = f"{entry.means} The certificate is not valid now, either: {other.means}"
    return failed(code, subject, seen, step="connection", means=means, remedy=f"{entry.remedy} {other.remedy}")


def code_of_reason(reason: str) -> str:
    """Return the catalog code for the reason of an `upstream-unreachable`."""
    return next((code for sign, code in _SIGNS if sign in reason), "network")


def _reached(contact: ConnectionProbe) -> str:
    how = [contact.version, f"through the egress proxy {contact.proxy}" if contact.proxy else ""]
    path = ", ".join(filter(None, how))
    return f"reached{f' by {path}' if path else ''}{_describe_certificate(contact)}"


def _by(contact: ConnectionProbe) -> str:
    """Return the egress proxy as text; empty if there is none."""
    return f" (through the egress proxy {contact.proxy})" if contact.proxy else ""


def _is_expired(contact: ConnectionProbe) -> bool:
    """Return whether the certificate is expired: OpenSSL reports only the first error of an untrusted one."""
    certificate = contact.certificate
    return certificate is not None and not certificate.begins <= contact.now <= certificate.ends


def _describe_certificate(contact: ConnectionProbe) -> str:
    """Describe the certificate, so that a person can recognize it."""
    certificate = contact.certificate
    if certificate is None:
        return ""
    names = f" for {_few(certificate.names)}" if certificate.names else ""
    validity = _validity(certificate, contact.now)
    return f"; certificate of {certificate.subject}{names}, issued by {certificate.issuer}, {validity}"


def _validity(certificate: Certificate, now: float) -> str:
    if now > certificate.ends:
        return f"expired on {_day(certificate.ends)}"
    is_early = now < certificate.begins
    return f"not valid before {_day(certificate.begins)}" if is_early else f"until {_day(certificate.ends)}"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


def _day(instant: float) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M} UTC"


def _is_inspected(contact: ConnectionProbe) -> bool:
    """Return whether a TLS inspection proxy issued the certificate: Oracle's own come from public authorities."""
    if contact.certificate is None:
        return False
    host, issuer = host_of(contact.origin), contact.certificate.issuer
    is_not_oracle = host.endswith(".oraclecloud.com") and not _PUBLIC.search(issuer)
    return is_not_oracle or _INSPECTION.search(issuer) is not None
