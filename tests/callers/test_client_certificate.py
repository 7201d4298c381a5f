"""The names in a client certificate, and the callers that they name."""

import datetime as dt
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.callers.client_certificate import certificate_names
from gateway.callers.identification import ConnectionFacts, identify_head
from gateway.callers.proof_table import CallerProofs, ProofTable


def certificate(*names: x509.GeneralName, cn: tuple[str, ...] = ("plant",)) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in cn])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


DER = certificate(x509.DNSName("Plant.Corp"), x509.DNSName("other"), x509.UniformResourceIdentifier("spiffe://corp/p"))


def test_all_names_of_a_certificate_are_found() -> None:
    assert set(certificate_names(DER)) == {
        ("sha256", hashlib.sha256(DER).hexdigest()),
        ("cn", "plant"),
        ("dns", "plant.corp"),
        ("dns", "other"),
        ("uri", "spiffe://corp/p"),
    }


def test_several_common_names_name_none() -> None:
    assert [kind for kind, _ in certificate_names(certificate(cn=("a", "b")))] == ["sha256"]


def test_an_unreadable_certificate_has_a_fingerprint_only() -> None:
    assert list(certificate_names(b"nonsense")) == [("sha256", hashlib.sha256(b"nonsense").hexdigest())]


def test_a_certificate_names_its_caller() -> None:
    for proof in certificate_names(DER):
        table = ProofTable([CallerProofs("plant", certificates=(proof,))], key=b"k" * 32)
        facts = ConnectionFacts("127.0.0.1", None, DER)
        assert identify_head(table, facts, authorization=None, api_key=None) == ("plant", "")
        other = ConnectionFacts("127.0.0.1", None, certificate(cn=("x",)))
        assert identify_head(table, other, authorization=None, api_key=None) == (None, "")


def test_a_certificate_of_two_callers_names_neither() -> None:
    callers = [CallerProofs("a", certificates=(("dns", "other"),)), CallerProofs("b", certificates=(("cn", "plant"),))]
    facts = ConnectionFacts("127.0.0.1", None, DER)
    assert identify_head(ProofTable(callers, key=b"k" * 32), facts, authorization=None, api_key=None).problem
