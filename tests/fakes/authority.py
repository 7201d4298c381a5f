"""A certificate authority that signs any certificate: of any issuer, for any names, of any age."""

import datetime as dt
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fakes.certificates import DAY, server_context, sign, write


class Authority:
    """Signs certificates as `issuer`; `ca` is the PEM file of its own certificate."""

    def __init__(self, folder: Path, issuer: str = "Test Authority") -> None:
        self._folder = folder
        self._issuer = issuer, ec.generate_private_key(ec.SECP256R1())
        self.ca = folder / f"{issuer.replace(' ', '-')}.pem"
        self.ca.write_bytes(sign(*self._issuer, is_ca=True).public_bytes(Encoding.PEM))

    def server(
        self, *names: str, begins: dt.timedelta = -DAY, ends: dt.timedelta = DAY, subject: str = "oic server"
    ) -> ssl.SSLContext:
        """Return the context of a server for these host names and addresses, valid from and until so far from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = names or ("127.0.0.1", "localhost")
        signed = sign(subject, key, names, issuer=self._issuer, begins=begins, ends=ends)
        return server_context(write(self._folder / f"server-{signed.serial_number}.pem", key, signed))
