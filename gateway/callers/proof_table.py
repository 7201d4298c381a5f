"""Pure: finds the callers of a proof by its digest.

Secrets are looked up by a keyed digest (BLAKE2b) with a random key that only this process has. So the time of a lookup
depends neither on the number of callers nor on how many characters of a secret are right.
"""

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
CallerNames = tuple[str, ...]
"""Names of callers; several if they have the same proof."""


@dataclass(frozen=True, slots=True)
class CallerProofs:
    """The proofs of one caller, with the values of its secrets; its repr shows none."""

    name: str
    basic: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Pairs of user and password."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    wsse: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Pairs of user and password."""
    certificates: tuple[tuple[str, str], ...] = ()
    """Pairs of `dns`, `uri`, `cn` or `sha256` and a value."""
    user_ids: tuple[int, ...] = ()
    networks: tuple[IpNetwork, ...] = ()


class ProofTable:
    """The proofs of all callers. `uses_basic`, `uses_keys` and `uses_wsse` are whether some caller has such a proof."""

    __slots__ = (
        *("_certificates", "_digests", "_key", "_networks", "_users", "_wsse_passwords", "find_address"),
        *("uses_basic", "uses_certificates", "uses_keys", "uses_users", "uses_wsse"),
    )

    def __init__(self, proofs: Iterable[CallerProofs], *, key: bytes, uses: frozenset[str] = frozenset()) -> None:
        """`key` is random bytes. `uses` are the kinds of proof that are checked even while no secret of that kind can
        be read: `basic`, `api_key`, `wsse`.
        """
        self._key = key
        self._digests: dict[bytes, CallerNames] = {}
        self._certificates: dict[tuple[str, str], CallerNames] = {}
        self._users: dict[int, CallerNames] = {}
        self._networks: dict[tuple[int, int], dict[int, CallerNames]] = {}
        self._wsse_passwords: dict[str, tuple[tuple[str, str], ...]] = {}
        proofs = tuple(proofs)
        for each in proofs:
            self._add(each)
        self.uses_basic = "basic" in uses or any(each.basic for each in proofs)
        self.uses_keys = "api_key" in uses or any(each.api_keys for each in proofs)
        self.uses_wsse = "wsse" in uses or any(each.wsse for each in proofs)
        self.uses_certificates, self.uses_users = bool(self._certificates), bool(self._users)
        self.find_address = lru_cache(maxsize=1024)(self._find_address)

    def find_basic(self, credentials: bytes) -> CallerNames:
        """Return the callers of a decoded `user:password`."""
        return self._digests.get(self._digest(b"basic", credentials), ())

    def find_key(self, key: bytes) -> CallerNames:
        """Return the callers of an API key."""
        return self._digests.get(self._digest(b"key", key), ())

    def find_password(self, username: str, password: str) -> CallerNames:
        """Return the callers of the user and the password of a UsernameToken."""
        return self._digests.get(self._digest(b"wsse", _encode_pair(username, password)), ())

    def wsse_passwords(self, username: str) -> tuple[tuple[str, str], ...]:
        """Return pairs of caller and password for the user of a UsernameToken: its digest must be computed from
        them.
        """
        return self._wsse_passwords.get(username, ())

    def find_certificate(self, names: Iterable[tuple[str, str]]) -> CallerNames:
        """Return the callers that the names of a certificate (`certificate_names`) belong to."""
        return tuple({caller for name in names for caller in self._certificates.get(name, ())})

    def find_user(self, user_id: int) -> CallerNames:
        """Return the callers whose process runs as this user."""
        return self._users.get(user_id, ())

    def _find_address(self, address: str) -> CallerNames:
        peer: IpAddress = ipaddress.ip_address(address)
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        bits, number = peer.max_prefixlen, int(peer)
        found = (
            networks.get(number >> (bits - length), ())
            for (version, length), networks in self._networks.items()
            if version == peer.version
        )
        return tuple({name for names in found for name in names})

    def _add(self, proofs: CallerProofs) -> None:
        name = proofs.name
        for username, password in proofs.basic:
            # RFC 7617 §2.1: the charset is not defined; clients send UTF-8 or Latin-1.
            for charset in ("utf-8", "latin-1"):
                credentials = f"{username}:{password}".encode(charset, "replace")
                if charset == "utf-8" or credentials.decode(charset) == f"{username}:{password}":
                    self._add_digest(self._digest(b"basic", credentials), name)
        for key in proofs.api_keys:
            self._add_digest(self._digest(b"key", key.encode()), name)
        for username, password in proofs.wsse:
            self._add_digest(self._digest(b"wsse", _encode_pair(username, password)), name)
            self._wsse_passwords[username] = (*self._wsse_passwords.get(username, ()), (name, password))
        for names in proofs.certificates:
            self._certificates[names] = _add_name(self._certificates.get(names, ()), name)
        for user_id in proofs.user_ids:
            self._users[user_id] = _add_name(self._users.get(user_id, ()), name)
        for network in proofs.networks:
            prefixes = self._networks.setdefault((network.version, network.prefixlen), {})
            prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            prefixes[prefix] = _add_name(prefixes.get(prefix, ()), name)

    def _add_digest(self, digest: bytes, name: str) -> None:
        self._digests[digest] = _add_name(self._digests.get(digest, ()), name)

    def _digest(self, kind: bytes, secret: bytes) -> bytes:
        return hashlib.blake2b(secret, key=self._key, person=kind, digest_size=32).digest()


def _encode_pair(username: str, password: str) -> bytes:
    """Return user and password as unambiguous bytes."""
    user = username.encode("utf-8", "surrogatepass")
    return b"%d:%b%b" % (len(user), user, password.encode("utf-8", "surrogatepass"))


def _add_name(names: CallerNames, name: str) -> CallerNames:
    return names if name in names else (*names, name)
