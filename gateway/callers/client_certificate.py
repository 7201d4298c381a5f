"""Pure: the names in a client certificate that may name a caller."""

import hashlib
from collections.abc import Iterator


def certificate_names(der: bytes) -> Iterator[tuple[str, str]]:
    """Yield pairs of `dns`, `uri`, `cn` or `sha256` and a value. For a certificate that cannot be read, yield only the
    fingerprint.
    """
    from cryptography import x509  # noqa: PLC0415 - most gateways have no client certificates
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - likewise

    yield "sha256", hashlib.sha256(der).hexdigest()
    try:
        certificate = x509.load_der_x509_certificate(der)
        common_names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        extensions = [each.value for each in certificate.extensions]
    except ValueError:
        return
    if len(common_names) == 1:
        yield "cn", common_names[0]
    for names in extensions:
        if not isinstance(names, x509.SubjectAlternativeName):
            continue
        yield from (("dns", name.lower().rstrip(".")) for name in names.get_values_for_type(x509.DNSName))
        yield from (("uri", uri) for uri in names.get_values_for_type(x509.UniformResourceIdentifier))
