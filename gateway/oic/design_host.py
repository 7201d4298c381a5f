"""Pure: where the developer API of OIC 3 is.

Called on an instance's runtime host it answers 307 to the design host of the region, which wants the instance's name as
`integrationInstance`. Ordinary clients drop the token on that hop.
"""

import re

# NAME.integration.REGION.ocp.oraclecloud.com; custom endpoints and Gen 2 say nothing of their region.
_RUNTIME = re.compile(r"[a-z0-9][a-z0-9-]*(\.integration\.[a-z0-9-]+\.ocp\.oraclecloud\.com)")
_API = "/ic/api/integration/"
_TRIGGER = re.compile(r"v[0-9]+/flows/")
_DESIGN = "design"


def design_host(host: str) -> str | None:
    """The design host of the region in which the runtime host is; None where the name does not tell."""
    found = _RUNTIME.fullmatch(host.lower())
    return None if found is None or host.lower().startswith(f"{_DESIGN}.") else f"{_DESIGN}{found[1]}"


def is_developer_call(path: str) -> bool:
    """Return whether the path of a request is one of the developer API."""
    return path.startswith(_API) and is_developer(path)


def is_developer(path: str) -> bool:
    """Whether an upstream's path leads to the developer API, and not to triggers alone."""
    if not path.startswith(_API):
        return _API.startswith(path if path.endswith("/") else f"{path}/")
    return _TRIGGER.match(path.removeprefix(_API)) is None
