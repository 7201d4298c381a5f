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


# The steps of a connection, as `proxy.dialing` names them behind the origin, and what to do when one fails.
STEPS = (
    (
        ": name:",
        "The host name is not known here: compare it with the console's runtime URL, and look at this host's DNS.",
    ),
    ("not trusted", "Where a TLS inspection proxy signs the certificates, give its authority as `tls: {ca: FILE}`."),
    (": TLS:", "The other side does not speak TLS as expected: check https against http, and the port."),
    (": egress proxy:", "The egress proxy refused the tunnel: check its address, its user, and what it lets through."),
    ("no connection within", "Nothing answers: check the port, the firewall, and whether an egress proxy is needed."),
    (": connect:", "The port refuses: check it, and the instance's allow-list for this host's egress address."),
)


def of_connection(upstream: str, reason: str) -> Finding:
    """Explains a failed connection by the step that failed."""
    remedy = next(
        (remedy for sign, remedy in STEPS if sign in reason), "Look at the way from this host to the upstream."
    )
    return Finding(ok=False, subject=f"upstream {upstream}", seen=reason, remedy=remedy)


def of_audience(credential: str, scope: str, audiences: list[str]) -> Finding | None:
    """A token for none of the resources in its scope: OIC will answer 401. None where one fits or it cannot be told.

    A scope is its resource's audience with the resource's own word behind it, without a space: `https://HASH….com:443`
    and `urn:opc:resource:consumer::all` or `/ic/api/`.
    """
    resources = [word.partition("urn:opc:")[0] for word in scope.split() if word.lower().startswith("http")]
    if not resources or not audiences or any(_fits(audience, resources) for audience in audiences):
        return None
    return Finding(
        ok=False,
        subject=f"credential {credential}",
        seen=f"the token is for {', '.join(audiences)}, the scope asks for {', '.join(resources)}",
        remedy="Copy the scope anew from the OIC resource in the application's OAuth configuration.",
    )


def _fits(audience: str, resources: list[str]) -> bool:
    if not audience.lower().startswith("http"):  # `urn:…` names a kind of resource, not one
        return True
    bare = audience.rstrip("/").lower().removesuffix(":443")
    return any(f"{resource.lower()}/".startswith((f"{bare}/", f"{bare}:443/")) for resource in resources)
