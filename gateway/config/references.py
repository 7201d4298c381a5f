"""What the file points to, read once so that a mistake shows before the first call: secrets, certificates, keys.

The file's plain values are walked, wherever the references stand; what has not the expected kind is left to the
model's own complaint. OCI is not asked: what is in its Vault is read when it is used.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from gateway.config import vault
from gateway.config.issue import SECRET_KEYS, ConfigIssue, SecretProblem, Steps
from gateway.config.model import HistorySettings
from gateway.config.secrets import Secrets, exposure, suspicious
from gateway.config.state_model import State
from gateway.config.strict_model import SecretRef
from gateway.history.free_space import bytes_used, volume_of
from gateway.system.files import MAX_BYTES, check_regular, read_file

MIB = 1024 * 1024


def pointed_to(tree: Mapping[str, Any], *, base: Path, environ: Mapping[str, str]) -> Iterator[ConfigIssue]:
    """Findings about all that the plain value `tree` points to; relative files count from `base`."""
    yield from _ReferenceReader(base, Secrets(environ, base=base)).walk(tree, ())
    yield from _history_room(tree, base)
    place = next(_in_vault(tree, ()), None)
    if place is not None and not vault.is_installed():
        yield ConfigIssue(place, f"a secret of OCI Vault {vault.MISSING}", vault.INSTALL)


class HistoryAndState(BaseModel):
    """Of the file what says where calls are kept."""

    state: State | None = None
    history: HistorySettings = Field(default_factory=HistorySettings)


@dataclass(frozen=True, slots=True)
class _ReferenceReader:
    base: Path
    secrets: Secrets

    def walk(self, value: Any, steps: Steps) -> Iterator[ConfigIssue]:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            place = (*steps, key)
            if key in SECRET_KEYS and isinstance(inner, dict | list):
                yield from self._secrets(inner, place)
            elif key == "ca" and isinstance(inner, str) and inner:
                yield from self._authorities(inner, place)
            else:
                yield from self.walk(inner, place)
        if isinstance(value, dict) and steps[-1:] in _PAIRS:
            yield from _PAIRS[steps[-1:]](self, value, steps)

    def _secrets(self, value: dict[str, Any] | list[Any], steps: Steps) -> Iterator[ConfigIssue]:
        """Of several secrets one may be missing: it is about to come, or has just been taken away."""
        several = isinstance(value, list)
        places = [(*steps, index) for index in range(len(value))] if several else [steps]
        found = [self._secret(one, place) for one, place in zip(value if several else [value], places, strict=True)]
        is_one_good = any(all(finding.severity == "warning" for finding in findings) for findings in found)
        for finding in (finding for findings in found for finding in findings):
            yield replace(finding, severity="warning") if several and is_one_good else finding

    def _secret(self, value: Any, steps: Steps) -> list[ConfigIssue]:
        ref = _reference(value)
        if ref is None:
            return []
        place = (*steps, ref.kind)
        try:
            said = suspicious(self.secrets.read(ref))
        except SecretProblem as problem:
            return [ConfigIssue(place, problem.what, problem.remedy)]
        found = list(self._exposed(ref, place))
        if said and "private_key" not in steps:
            found.append(ConfigIssue(place, f"the secret of `{ref.target}` {said}", "remove it", severity="warning"))
        return found

    def _exposed(self, ref: SecretRef, steps: Steps) -> Iterator[ConfigIssue]:
        if ref.file is not None and (exposed := exposure(self.base / ref.file)):
            what = f"the secret file `{self.base / ref.file}` {exposed}"
            yield ConfigIssue(steps, what, "`chmod 600` it, for the user that the gateway runs as", severity="warning")

    def _authorities(self, file: str, steps: Steps) -> Iterator[ConfigIssue]:
        path = self.base / file
        try:
            check_regular(path)
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except ssl.SSLError:
            yield ConfigIssue(
                steps, f"the file `{path}` holds no certificates in PEM", "name a PEM file of authorities"
            )
        except OSError as cause:
            yield _unreadable(steps, path, cause)

    def client_certificate(self, tls: dict[str, Any], steps: Steps) -> Iterator[ConfigIssue]:
        """Certificate and key are read as they will be for each token request."""
        cert, key = tls.get("cert"), tls.get("key")
        if not isinstance(cert, str) or not cert or _is_in_vault(tls.get("key_password")):
            return
        file, key_file = self.base / cert, self.base / (key if isinstance(key, str) and key else cert)
        password = self._quiet(tls.get("key_password")) or ""
        yield from self._exposed(
            SecretRef(file=str(key_file)), (*steps, "key" if isinstance(key, str) and key else "cert")
        )
        try:
            check_regular(file)
            check_regular(key_file)
            # A password is always given: without one, OpenSSL asks the terminal for it.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(file, key_file, password=password)
        except ssl.SSLError:
            what = "certificate and key are no PEM, do not fit, or need another `key_password`"
            yield ConfigIssue((*steps, "cert"), what, "name the certificate, its `key` and the password of the key")
        except OSError as cause:
            missing = "key" if file.is_file() else "cert"
            yield _unreadable((*steps, missing), key_file if missing == "key" else file, cause)

    def signing_key(self, signing: dict[str, Any], steps: Steps) -> Iterator[ConfigIssue]:
        """The key can be read, signs the algorithm, and is that of the certificate."""
        pem = self._quiet(signing.get("private_key"))
        if pem is None or _is_in_vault(signing.get("key_password")):
            return
        from gateway.config import key_files  # noqa: PLC0415 - brings cryptography, which most files never need

        place = (*steps, "private_key")
        try:
            key = key_files.private_key(pem, password=self._quiet(signing.get("key_password")))
            place = (*steps, "algorithm")
            key_files.algorithm(key, wanted=signing.get("algorithm"))
            place = (*steps, "cert")
            if isinstance(cert := signing.get("cert"), str) and cert:
                key_files.certificate(read_file(self.base / cert, MAX_BYTES), key=key)
        except OSError as cause:
            yield _unreadable(place, self.base / str(signing.get("cert")), cause)
        except ValueError as cause:
            what, _, remedy = str(cause).partition("; ")
            yield ConfigIssue(place, what, remedy)

    def sealing_keys(self, state: dict[str, Any], steps: Steps) -> Iterator[ConfigIssue]:
        """Every key is there, and is one: an entry that was encrypted with a key that is missing would be lost."""
        references = state.get("keys")
        for index, value in enumerate(references if isinstance(references, list) else ()):
            ref = _reference(value)
            if ref is None:
                continue
            place = (*steps, "keys", index, ref.kind)
            try:
                self.secrets.sealing_key(ref)
            except SecretProblem as problem:
                yield ConfigIssue(place, problem.what, problem.remedy)
            yield from self._exposed(ref, place)

    def _quiet(self, value: Any) -> str | None:
        """The secret, or None where `_secret` has its own complaint."""
        ref = _reference(value)
        if ref is None:
            return None
        try:
            return self.secrets.read(ref).get_secret_value()
        except SecretProblem:
            return None


_PAIRS: dict[Steps, Callable[[_ReferenceReader, dict[str, Any], Steps], Iterator[ConfigIssue]]] = {
    ("tls",): _ReferenceReader.client_certificate,
    ("signing",): _ReferenceReader.signing_key,
    ("state",): _ReferenceReader.sealing_keys,
}


def _history_room(tree: Mapping[str, Any], base: Path) -> Iterator[ConfigIssue]:
    """The volume of `state.path` must have room for all calls that may be kept beside the tokens."""
    try:
        config = HistoryAndState.model_validate(tree, context={"base": base})
        if config.state is None or config.state.path is None or config.history.calls == 0:
            return
        path = Path(f"{config.state.path}.history")
        room = volume_of(path).room(bytes_used(path))
    except (ValidationError, OSError):  # the model, or whoever uses the file, has a complaint of its own
        return
    if room < config.history.size:
        what = (
            f"has room for {room // MIB} MiB of calls on its volume, less than the {config.history.size // MIB} MiB of "
            "`history.size`; the rest of the volume stays free for tokens, and the oldest calls go earlier"
        )
        yield ConfigIssue(("state", "path"), what, "set a smaller `history.size`, or make room", severity="warning")


def referenced_variables(value: Any) -> Iterator[str]:
    """Yield the environment variables that `{env: NAME}` names anywhere in a plain value."""
    if isinstance(value, dict):
        if isinstance(value.get("env"), str):
            yield value["env"]
        for inner in value.values():
            yield from referenced_variables(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from referenced_variables(inner)


def _unreadable(steps: Steps, file: Path, cause: OSError) -> ConfigIssue:
    reason = cause.strerror or type(cause).__name__
    return ConfigIssue(steps, f"the file `{file}` cannot be read ({reason})", "mend the path or its rights")


def _reference(value: Any) -> SecretRef | None:
    """A reference that can be followed here."""
    try:
        return SecretRef.model_validate(value) if isinstance(value, dict) and not _is_in_vault(value) else None
    except ValidationError:
        return None  # the model has its own complaint


def _is_in_vault(value: Any) -> bool:
    return isinstance(value, dict) and "oci_vault" in value


def _in_vault(value: Any, steps: Steps) -> Iterator[Steps]:
    """Where secrets of the Vault are named."""
    if _is_in_vault(value):
        yield (*steps, "oci_vault")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _in_vault(inner, (*steps, key))
