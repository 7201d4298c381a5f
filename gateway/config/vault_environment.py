"""Resolve `vault` and the environment variables of Vault to the access that is used, and check it. Pure.

A key of the file takes precedence over its variable. An empty variable counts as not set.
"""

from collections.abc import Iterator, Mapping

from pydantic import ConfigDict, TypeAdapter, ValidationError

from gateway.config.issue import ConfigIssue, Steps
from gateway.config.strict_model import SecretRef, TlsSettings
from gateway.config.values import BaseUrl, is_local
from gateway.config.vault_model import VaultAuthSettings, VaultSettings
from gateway.content.untrusted_text import read_url

ADDRESS, CA_FILE, NAMESPACE, TOKEN = "VAULT_ADDR", "VAULT_CACERT", "VAULT_NAMESPACE", "VAULT_TOKEN"
_URL: TypeAdapter[str] = TypeAdapter(BaseUrl, config=ConfigDict(defer_build=True))


def resolve_vault(settings: VaultSettings, environ: Mapping[str, str]) -> VaultSettings:
    """Return the settings with the variables for keys that are not set. A URL that cannot be used counts as not set."""
    address, ca, namespace, token = (environ.get(name, "").strip() for name in (ADDRESS, CA_FILE, NAMESPACE, TOKEN))
    fallbacks = {
        "url": address if address and _is_url(address) else None,
        "namespace": namespace or None,
        "tls": TlsSettings(ca=ca) if ca else None,
        "auth": VaultAuthSettings(token=SecretRef(env=TOKEN)) if token else None,
    }
    return settings.model_copy(
        update={key: value for key, value in fallbacks.items() if value and getattr(settings, key) is None}
    )


def check_vault(settings: VaultSettings, environ: Mapping[str, str], steps: Steps) -> Iterator[ConfigIssue]:
    """Yield issues of the access to Vault, which the reference at `steps` needs."""
    resolved = resolve_vault(settings, environ)
    address = environ.get(ADDRESS, "").strip()
    if resolved.url is None and address:
        yield ConfigIssue(
            steps, f"needs {ADDRESS}, which is not the URL of a server", "write it like https://vault:8200"
        )
    elif resolved.url is None:
        yield ConfigIssue(steps, "needs the URL of Vault", f"set `vault.url`, or the variable {ADDRESS}")
    if resolved.auth is None:
        yield ConfigIssue(steps, "needs a login to Vault", f"set `vault.auth`, or the variable {TOKEN}")
    url = read_url(resolved.url or "")
    if url is not None and url.scheme == "http" and not is_local(url.host) and not settings.insecure:
        where = ("vault", "url") if settings.url is not None else steps
        what = "sends secrets unencrypted" if settings.url is not None else f"is sent unencrypted: {ADDRESS} is http"
        yield ConfigIssue(where, what, "use https, or set `vault.insecure: true` if the network is trusted")


def _is_url(text: str) -> bool:
    try:
        _URL.validate_python(text)
    except ValidationError:
        return False
    return True
