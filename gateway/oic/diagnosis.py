"""Pure: what was seen → what it means → what to do, for the mistakes that people make when they set OIC up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `remedy` is empty where all is well."""

    ok: bool
    subject: str
    """`credential NAME` or `upstream URL`."""
    seen: str
    remedy: str = ""

    def text(self) -> str:
        """For a person at a terminal."""
        mark = "ok  " if self.ok else "FAIL"
        return f"{mark} {self.subject}: {self.seen}" + (f"\n     → {self.remedy}" if self.remedy else "")


# The steps of a connection, as `proxy.dialing` names them in its reasons, and what to do when one fails.
STEPS = (
    (
        "name:",
        "The host name is not known here: compare it with the console's runtime URL, and look at this host's DNS.",
    ),
    ("not trusted", "Where a TLS inspection proxy signs the certificates, give its authority as `tls: {ca: FILE}`."),
    ("TLS:", "The other side does not speak TLS as expected: check https against http, and the port."),
    ("egress proxy:", "The egress proxy refused the tunnel: check its address, its user, and what it lets through."),
    ("no connection within", "Nothing answers: check the port, the firewall, and whether an egress proxy is needed."),
    ("connect:", "The port refuses: check it, and the instance's allow-list for this host's egress address."),
)


def of_connection(upstream: str, reason: str) -> Finding:
    """Explains a failed connection by the step that failed."""
    remedy = next(
        (remedy for sign, remedy in STEPS if sign in reason), "Look at the way from this host to the upstream."
    )
    return Finding(ok=False, subject=f"upstream {upstream}", seen=reason, remedy=remedy)


def of_audience(credential: str, scope: str, audiences: list[str]) -> Finding | None:
    """A token whose audience is not the scope's resource: OIC will answer 401. None where they fit or cannot be told."""
    resource = scope.partition("urn:opc:")[0].strip()
    if not resource.startswith("http") or not audiences or any(_same(resource, audience) for audience in audiences):
        return None
    return Finding(
        ok=False,
        subject=f"credential {credential}",
        seen=f"the token is for {', '.join(audiences)}, the scope asks for {resource}",
        remedy="Copy the scope anew from the OIC resource in the application's OAuth configuration.",
    )


def _same(resource: str, audience: str) -> bool:
    return resource.rstrip("/").lower() == audience.rstrip("/").lower() or audience.startswith("urn:")
