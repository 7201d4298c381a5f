"""Read the secrets, certificates and keys that a configuration references, and report those that cannot be used.

Secrets of servers are not read here, but when they are used.
"""

import os
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from gateway.config.issue import (
    SECRET_KEYS,
    SERVER_REFERENCES,
    ConfigIssue,
    SecretProblem,
    Steps,
    has_free_keys,
    keys_of,
)
from gateway.config.secrets import SecretReader, exposure, suspicious
from gateway.config.strict_model import SecretRef
from gateway.config.values import VALUE_PATTERN
from gateway.system.confined_files import LeavesFolder
from gateway.system.confined_path import join_folder
from gateway.system.files import MAX_BYTES, library_path, read_file


class ReferenceReader(msgspec.Struct, frozen=True):
    """Checks everything that a plain value references; relative paths are relative to `base`."""

    base: Path
    secrets: SecretReader

    def check(self, value: Any, steps: Steps) -> Iterator[ConfigIssue]:
        """Yield issues of a part of the configuration."""
        if has_free_keys(steps):
            return
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            inner_steps = (*steps, key)
            known = keys_of(inner_steps)[-1] if isinstance(key, str) else ""
            if known in SECRET_KEYS and isinstance(inner, dict | list):
                yield from self._check_secrets(inner, inner_steps)
            elif known in {"ca", "client_ca"} and isinstance(inner, str) and inner:
                yield from self._check_authorities(inner, inner_steps)
            else:
                yield from self.check(inner, inner_steps)
        section = keys_of(steps)[-1:]
        if isinstance(value, dict) and section in _SECTION_CHECKS:
            yield from _SECTION_CHECKS[section](self, value, steps)

    def _check_secrets(self, value: dict[str, Any] | list[Any], steps: Steps) -> Iterator[ConfigIssue]:
        """Report only warnings if one of several secrets is usable: during a rotation the others may be missing."""
        is_list = isinstance(value, list)
        secrets = [((*steps, index), secret) for index, secret in enumerate(value)] if is_list else [(steps, value)]
        found = [self.check_secret(secret, secret_steps) for secret_steps, secret in secrets]
        is_one_usable = any(all(issue.severity == "warning" for issue in issues) for issues in found)
        for issue in (issue for issues in found for issue in issues):
            yield issue._replace(severity="warning") if is_list and is_one_usable else issue

    def check_secret(self, value: Any, steps: Steps, *, allows_spaces: bool = False) -> list[ConfigIssue]:
        """Return issues of one reference to a secret."""
        ref = local_reference(value)
        if ref is None:
            return []
        ref_steps = (*steps, ref.kind)
        try:
            defect = suspicious(self.secrets.read(ref))
        except SecretProblem as problem:
            return [ConfigIssue(ref_steps, problem.what, problem.remedy)]
        found = list(self._check_file_mode(ref.file, ref_steps))
        if defect and "private_key" not in steps and not allows_spaces:
            what = f"the secret of `{ref.target}` {defect}"
            found.append(ConfigIssue(ref_steps, what, "remove it", severity="warning"))
        return found

    def _check_file_mode(self, file: str | None, steps: Steps) -> Iterator[ConfigIssue]:
        path = None if file is None else join_folder(self.base, file)
        if path is not None and (exposed := exposure(path)):
            what = f"the secret file `{path}` {exposed}"
            yield ConfigIssue(steps, what, "`chmod 600` it, for the user that the gateway runs as", severity="warning")

    def header_secrets(self, telemetry: dict[str, Any], steps: Steps) -> Iterator[ConfigIssue]:
        """Check the secrets of the header fields of exports."""
        headers = telemetry.get("headers")
        for name, value in headers.items() if isinstance(headers, dict) else ():
            if isinstance(value, dict):
                header_steps = (*steps, "headers", name)
                yield from self.check_secret(value, header_steps, allows_spaces=True)
                text = self.read_or_none(value)
                if text is not None and re.fullmatch(VALUE_PATTERN, text) is None:
                    what = "is not the value of a header field"
                    yield ConfigIssue(header_steps, what, "write visible ASCII, without a blank at either end")

    def _check_authorities(self, file: str, steps: Steps) -> Iterator[ConfigIssue]:
        path = join_folder(self.base, file)
        try:
            with library_path(path) as opened:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(opened)
        except ssl.SSLError:
            yield ConfigIssue(
                steps, f"the file `{path}` holds no certificates in PEM", "name a PEM file of authorities"
            )
        except OSError as cause:
            yield unreadable(steps, path, cause)

    def certificate(self, tls: dict[str, Any], steps: Steps) -> Iterator[ConfigIssue]:
        """Load certificate and key as for a token request or a listener."""
        cert, key = tls.get("cert"), tls.get("key")
        if not isinstance(cert, str) or not cert or _is_on_server(tls.get("key_password")):
            return
        has_key = isinstance(key, str) and bool(key)
        key = key if isinstance(key, str) and key else cert
        file, key_file = join_folder(self.base, cert), join_folder(self.base, key)
        password = self.read_or_none(tls.get("key_password")) or ""
        yield from self._check_file_mode(key, (*steps, "key" if has_key else "cert"))
        try:
            with library_path(file) as opened, library_path(key_file) as opened_key:
                # Always pass a password: without one, OpenSSL prompts on the terminal.
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(opened, opened_key, password=password)
        except ssl.SSLError:
            what = "certificate and key are not PEM, do not belong together, or need another `key_password`"
            yield ConfigIssue((*steps, "cert"), what, "name the certificate, its `key` and the password of the key")
        except OSError as cause:
            missing = "key" if os.access(file, os.R_OK) and Path(file).is_file() else "cert"
            yield unreadable((*steps, missing), key_file if missing == "key" else file, cause)

    def signing_key(self, signing: dict[str, Any], steps: Steps) -> Iterator[ConfigIssue]:
        """Check that the key is readable, fits the algorithm and belongs to the certificate."""
        pem = self.read_or_none(signing.get("private_key"))
        if pem is None or _is_on_server(signing.get("key_password")):
            return
        from gateway.config import key_files  # noqa: PLC0415 - imports cryptography, which most files do not need

        key_steps = (*steps, "private_key")
        try:
            key = key_files.private_key(pem, password=self.read_or_none(signing.get("key_password")))
            key_steps = (*steps, "algorithm")
            key_files.algorithm(key, wanted=signing.get("algorithm"))
            key_steps = (*steps, "cert")
            if isinstance(cert := signing.get("cert"), str) and cert:
                key_files.certificate(read_file(join_folder(self.base, cert), MAX_BYTES), key=key)
        except OSError as cause:
            yield unreadable(key_steps, join_folder(self.base, signing["cert"]), cause)
        except ValueError as cause:
            what, _, remedy = str(cause).partition("; ")
            yield ConfigIssue(key_steps, what, remedy)

    def sealing_keys(self, state: dict[str, Any], steps: Steps) -> Iterator[ConfigIssue]:
        """Check that each key is usable: entries encrypted with a missing key are lost."""
        references = state.get("keys")
        for index, value in enumerate(references if isinstance(references, list) else ()):
            ref = local_reference(value)
            if ref is None:
                continue
            ref_steps = (*steps, "keys", index, ref.kind)
            try:
                self.secrets.sealing_key(ref)
            except SecretProblem as problem:
                yield ConfigIssue(ref_steps, problem.what, problem.remedy)
            yield from self._check_file_mode(ref.file, ref_steps)

    def read_or_none(self, value: Any) -> str | None:
        """Return the secret, or None if `check_secret` or the model reports it."""
        ref = local_reference(value)
        if ref is None:
            return None
        try:
            return self.secrets.read(ref).get_secret_value()
        except SecretProblem:
            return None


_SECTION_CHECKS: dict[Steps, Callable[[ReferenceReader, dict[str, Any], Steps], Iterator[ConfigIssue]]] = {
    ("tls",): ReferenceReader.certificate,
    ("signing",): ReferenceReader.signing_key,
    ("state",): ReferenceReader.sealing_keys,
    ("telemetry",): ReferenceReader.header_secrets,
}


def unreadable(steps: Steps, file: str | Path, cause: OSError) -> ConfigIssue:
    """Return the issue of a file that cannot be read."""
    if isinstance(cause, LeavesFolder):
        return ConfigIssue(steps, cause.what, cause.remedy)
    reason = cause.strerror or type(cause).__name__
    return ConfigIssue(steps, f"the file `{file}` cannot be read ({reason})", "correct the path or its permissions")


def local_reference(value: Any) -> SecretRef | None:
    """Return a reference to a file or a variable; None for one to a server and for other values."""
    try:
        return SecretRef.model_validate(value) if isinstance(value, dict) and not _is_on_server(value) else None
    except ValidationError:
        return None  # reported by the model


def _is_on_server(value: Any) -> bool:
    return isinstance(value, dict) and not SERVER_REFERENCES.isdisjoint(value)
