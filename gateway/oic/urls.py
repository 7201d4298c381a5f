"""Hosts and paths of Oracle Integration Cloud, and a harmless request for an upstream.

An instance runs integrations on `NAME.integration.REGION.ocp.oraclecloud.com`; Gen 2 has no region, and custom
endpoints have any name. The developer API of OIC 3 answers 307 there, to the design host of the region, which requires
the name of the instance as `integrationInstance`. Ordinary clients drop the token on that redirect.
"""

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote, urlencode

import msgspec

# Hosts ----------------------------------------------------------------------------------------------------------------

# The realms of Oracle Cloud have domains of their own: commercial, government, sovereign, dedicated.
ORACLE_DOMAIN = r"oracle(?:gov)?cloud[0-9]*\.(?:com|eu|uk)"
DESIGN = "design"
"""The first label of a design host, in place of the name of an instance."""
_ORACLE = re.compile(rf"(?:.+\.)?{ORACLE_DOMAIN}\Z")
_IDENTITY = re.compile(rf"[a-z0-9-]+\.(?:[a-z0-9-]+\.)*identity\.(?:[a-z0-9-]+\.)*{ORACLE_DOMAIN}\Z")
_OIC = re.compile(
    rf"(?P<name>[a-z0-9_-]+)\.(?P<domain>integration\.(?:(?P<region>[a-z0-9-]+)\.)?ocp\.{ORACLE_DOMAIN})\Z",
    re.IGNORECASE,
)


class OicHost(msgspec.Struct, frozen=True):
    """Host name of an OIC instance, its design host or an audience: `NAME.integration.REGION.ocp.oraclecloud.com`."""

    name: str
    domain: str
    """Everything behind the name, in lower case."""
    region: str
    """Empty in Gen 2."""


def is_identity_domain(host: str) -> bool:
    """Return whether a host belongs to an identity domain of Oracle Cloud, in any realm."""
    return _IDENTITY.match(host.lower()) is not None


def is_oracle_host(host: str) -> bool:
    """Return whether a host belongs to Oracle Cloud, in any realm."""
    return _ORACLE.match(host.lower()) is not None


def parse_oic_host(host: str) -> OicHost | None:
    """Split the host name of an OIC instance. Return None for any other, also for a custom endpoint."""
    match = _OIC.match(host)
    return OicHost(match["name"], match["domain"].lower(), (match["region"] or "").lower()) if match else None


def design_host(host: str) -> str | None:
    """Return the design host of a runtime host's region, None if the name does not contain the region."""
    runtime = parse_oic_host(host)
    if runtime is None or not runtime.region or runtime.name.lower() == DESIGN:
        return None
    return f"{DESIGN}.{runtime.domain}"


# Paths ----------------------------------------------------------------------------------------------------------------

SOAP_TRIGGER_PREFIX = "/ic/ws/"
INTEGRATION_API = "/ic/api/integration/"
FLOWS = r"/ic/(?:api|ws)/integration/v[0-9]+/flows/"
"""Pattern of the path below which the triggers of all adapters are."""
PROJECT = r"(?:project/(?P<project>[^/]+)/)?"
INSTANCE_PARAMETER = "integrationInstance"
_TRIGGER = re.compile(r"v[0-9]+/flows/")
DEVELOPER_CALL = re.compile(rf"{INTEGRATION_API}(?!{_TRIGGER.pattern})")
"""Matches the beginning of the path of a request that leads to the developer API."""


def is_developer_upstream(path: str) -> bool:
    """Return whether requests below the path of an upstream can reach the developer API, and not only triggers."""
    if not path.startswith(INTEGRATION_API):
        return INTEGRATION_API.startswith(path if path.endswith("/") else f"{path}/")
    return _TRIGGER.match(path.removeprefix(INTEGRATION_API)) is None


# A harmless request ---------------------------------------------------------------------------------------------------

TargetKind = Literal["rest", "soap", "developer", "other"]

_REST = re.compile(
    rf"(?P<base>.*/(?P<api>v\d+)/flows/rest/{PROJECT}(?!project(?:/|$))(?P<code>[^/]+)(?:/(?P<version>[^/]+))?)(?:/.*)?"
)
_SOAP = re.compile(r"(?P<base>.*/flows/(?:soap|osc)/(?P<code>[^/]+)(?:/(?P<version>[^/]+))?)(?:/.*)?")
_DEVELOPER = re.compile(rf"(?P<base>.*{INTEGRATION_API}v\d+)(?!/flows/)(?:/.*)?")
_VERSION = re.compile(r"[0-9]+\.[0-9]+")

FIRST_VERSION = "1.0"
"""The version that almost every integration has."""


class OicTarget(msgspec.Struct, frozen=True):
    """The endpoint that an upstream's path leads to, and a request to it that runs no flow."""

    kind: TargetKind
    method: str
    target: str
    api: str = ""
    """`v1`, `v2` …; empty if it is unknown."""
    project: str = ""
    version: str = ""
    base: str = ""
    """The path up to the version, or up to the code if there is no version."""

    @property
    def has_valid_version(self) -> bool:
        """Whether the version is MAJOR.MINOR, as in URLs, or missing."""
        return not self.version or _VERSION.fullmatch(self.version) is not None

    @property
    def is_version_mismatch(self) -> bool:
        """Whether the path is that of a project without a project, or the other way round."""
        return self.kind == "rest" and (self.api == "v1") == bool(self.project)


def probe_target(path: str, query: Mapping[str, str] | None = None) -> OicTarget:
    """Return the harmless request for an upstream's path, with the parameters that its route sets.

    It reads the `/metadata` of a REST trigger, the WSDL of a SOAP trigger or of another adapter (`osc`), or the list of
    integrations of the developer API. For any other path it is OPTIONS, which is safe (RFC 9110 §9.3.7).
    """
    parameters = dict(query or {})
    if found := _REST.fullmatch(path):
        base, api, project, _, version = found.groups(default="")
        return OicTarget("rest", "GET", _with_query(f"{base}/metadata", parameters), api, project, version, base)
    if found := _SOAP.fullmatch(path):
        more = f"&{_encode(parameters)}" if parameters else ""
        base, _, version = found.groups(default="")
        return OicTarget("soap", "GET", f"{base}/?wsdl{more}", version=version, base=base)
    if (found := _DEVELOPER.fullmatch(path)) is not None:
        return OicTarget("developer", "GET", _with_query(f"{found['base']}/integrations", {"limit": "1", **parameters}))
    return OicTarget("other", "OPTIONS", _with_query(path, parameters))


def first_version_target(target: OicTarget) -> str:
    """Return the request target for the first version of the same integration; empty if `target` is that one."""
    if target.kind == "other" or not target.base or target.version == FIRST_VERSION:
        return ""
    parent = target.base.removesuffix(target.version) if target.version else f"{target.base}/"
    base = f"{parent}{FIRST_VERSION}"
    return f"{base}/metadata" if target.kind == "rest" else f"{base}/?wsdl"


def _with_query(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{_encode(query)}" if query else path


def _encode(query: Mapping[str, str]) -> str:
    return urlencode(query, quote_via=quote)
