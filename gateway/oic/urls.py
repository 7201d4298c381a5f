"""Knows OIC's URLs: what an upstream's path leads to, and which request to it does no harm, since it runs no flow.

A REST trigger has its description under `/metadata`, a SOAP trigger its WSDL under `?wsdl`, as other adapters (`osc`)
do; the developer API lists integrations; of anything else only OPTIONS is asked (RFC 9110 §9.3.7: safe).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode

TargetKind = Literal["rest", "soap", "developer", "other"]

_REST = re.compile(
    r"(?P<base>.*/(?P<form>v\d+)/flows/rest/(?:project/(?P<project>[^/]+)/)?(?!project(?:/|$))(?P<code>[^/]+)(?:/(?P<version>[^/]+))?)(?:/.*)?"
)
_SOAP = re.compile(r"(?P<base>.*/flows/(?:soap|osc)/(?P<code>[^/]+)(?:/(?P<version>[^/]+))?)(?:/.*)?")
_DEVELOPER = re.compile(r"(?P<base>.*/ic/api/integration/v\d+)(?!/flows/)(?:/.*)?")
_VERSION = re.compile(r"[0-9]+\.[0-9]+")

FIRST = "1.0"
"""The version that almost every integration has."""


@dataclass(frozen=True, slots=True)
class OicTarget:
    """What an upstream's path leads to, and the request that is tried; `form` is `v1`, `v2` …, empty where unknown."""

    kind: TargetKind
    method: str
    target: str
    form: str = ""
    project: str = ""
    version: str = ""
    base: str = ""
    """The path up to the version, or up to the code where the version is left out."""

    @property
    def has_good_version(self) -> bool:
        """The version is written as URLs have it, MAJOR.MINOR, or there is none."""
        return not self.version or _VERSION.fullmatch(self.version) is not None

    @property
    def is_mixed(self) -> bool:
        """A path of a project without one, or the other way round."""
        return self.kind == "rest" and (self.form == "v1") == bool(self.project)


def target_of(path: str, query: Mapping[str, str] | None = None) -> OicTarget:
    """The harmless request for an upstream's path, with the parameters that its route sets."""
    given = dict(query or {})
    if found := _REST.fullmatch(path):
        base, form, project, _, version = found.groups(default="")
        return OicTarget("rest", "GET", _with(f"{base}/metadata", given), form, project, version, base)
    if found := _SOAP.fullmatch(path):
        more = f"&{_encoded(given)}" if given else ""
        base, _, version = found.groups(default="")
        return OicTarget("soap", "GET", f"{base}/?wsdl{more}", version=version, base=base)
    if (found := _DEVELOPER.fullmatch(path)) is not None:
        return OicTarget("developer", "GET", _with(f"{found['base']}/integrations", {"limit": "1", **given}))
    return OicTarget("other", "OPTIONS", _with(path, given))


def first_version(target: OicTarget) -> str:
    """The target for the first version of the same integration; empty where that is what was asked for."""
    if target.kind == "other" or not target.base or target.version == FIRST:
        return ""
    parent = target.base.removesuffix(target.version) if target.version else f"{target.base}/"
    base = f"{parent}{FIRST}"
    return f"{base}/metadata" if target.kind == "rest" else f"{base}/?wsdl"


def _with(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{_encoded(query)}" if query else path


def _encoded(query: Mapping[str, str]) -> str:
    return urlencode(query, quote_via=quote)
