"""Judges how far a connection came: name, TCP, egress proxy, TLS and its certificate."""

import re
from datetime import UTC, datetime

from gateway.content.foreign_text import host_of
from gateway.diagnosis.catalog import MISTAKES
from gateway.diagnosis.facts import Certificate, ConnectionProbe
from gateway.diagnosis.finding import Finding, failed

# How `network.dialing` names the step in the reason of an `upstream-unreachable`, and which row that is; in order,
# since a failure of the egress proxy may name a later step in its words.
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

# In the names of authorities that products which open TLS make, or companies for them.
_INSPECTION = re.compile(
    r"inspect|intercept|proxy|firewall|gateway|zscaler|netskope|blue ?coat|forti|palo ?alto|forcepoint|mcafee|skyhigh"
    r"|umbrella|sophos|check ?point|barracuda|\bcorp|enterprise|internal|company",
    re.IGNORECASE,
)
# Public authorities: not trusted here, they only mean that the chain, or this system's list of them, is not whole.
_PUBLIC = re.compile(
    r"digicert|oracle|sectigo|comodo|globalsign|entrust|let's encrypt|godaddy|amazon|google", re.IGNORECASE
)


def code_of(contact: ConnectionProbe) -> str:
    """The row of `gateway.diagnosis.catalog` for a connection that failed."""
    if contact.step == "egress proxy":
        return "proxy-login" if "407" in contact.detail else "proxy"
    if contact.step == "TLS" and contact.verify:
        return _VERIFY.get(contact.verify) or ("tls-inspection" if _is_inspected(contact) else "tls-trust")
    return _STEPS.get(contact.step, "network")


def diagnose_connection(contact: ConnectionProbe, subject: str, *, seen: str = "") -> Finding:
    """The finding of a connection, good or bad; `seen` takes the place of the words for one that failed."""
    if not contact.step:
        named = "" if contact.origin in subject else f"{contact.origin} "
        return Finding(ok=True, subject=subject, seen=f"{named}{_reached(contact)}", step="connection")
    seen = f"{seen or f'{contact.origin}: {contact.step}: {contact.detail}{_by(contact)}'}{_shown(contact)}"
    code = code_of(contact)
    if code not in {"tls-trust", "tls-inspection"} or not _is_out_of_time(contact):
        return failed(code, subject, seen, step="connection")
    row, other = MISTAKES[code], MISTAKES["tls-expired"]
    both = {"means": f"{row.means} And it is not valid now: {other.means}", "remedy": f"{row.remedy} {other.remedy}"}
    return failed(code, subject, seen, step="connection", **both)


def code_of_reason(reason: str) -> str:
    """The row for the reason of an `upstream-unreachable`, where nothing else is known."""
    return next((code for sign, code in _SIGNS if sign in reason), "network")


def _reached(contact: ConnectionProbe) -> str:
    how = [contact.version, f"through the egress proxy {contact.proxy}" if contact.proxy else ""]
    told = ", ".join(filter(None, how))
    return f"reached{f' by {told}' if told else ''}{_shown(contact)}"


def _by(contact: ConnectionProbe) -> str:
    """Through which egress proxy, where the words of the failure do not say that it was the way."""
    return f" (through the egress proxy {contact.proxy})" if contact.proxy else ""


def _is_out_of_time(contact: ConnectionProbe) -> bool:
    """OpenSSL tells one fault of a certificate, the first: an untrusted one may have ended, too."""
    shown = contact.certificate
    return shown is not None and not shown.begins <= contact.now <= shown.ends


def _shown(contact: ConnectionProbe) -> str:
    """What the certificate says, for whoever knows which one it should be."""
    shown = contact.certificate
    if shown is None:
        return ""
    names = f" for {_few(shown.names)}" if shown.names else ""
    return f"; certificate of {shown.subject}{names}, issued by {shown.issuer}, {_life(shown, contact.now)}"


def _life(shown: Certificate, now: float) -> str:
    if now > shown.ends:
        return f"ended on {_day(shown.ends)}"
    return f"begins only on {_day(shown.begins)}" if now < shown.begins else f"until {_day(shown.ends)}"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")


def _day(instant: float) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M} UTC"


def _is_inspected(contact: ConnectionProbe) -> bool:
    """Oracle's own certificates come from public authorities: what is not trusted in their place is another's."""
    if contact.certificate is None:
        return False
    host, issuer = host_of(contact.origin), contact.certificate.issuer
    is_oracle_s = host.endswith(".oraclecloud.com") and not _PUBLIC.search(issuer)
    return is_oracle_s or _INSPECTION.search(issuer) is not None
