"""The causes of `invalid_client`, which identity domains answer to all of them alike, by how likely each is."""

from collections.abc import Callable
from typing import NamedTuple

from gateway.content.foreign_text import host_of
from gateway.diagnosis.clock_skew import compared, is_late
from gateway.diagnosis.facts import CredentialProbe

_SIGNED = frozenset({"private_key_jwt", "tls"})


class Cause(NamedTuple):
    """How likely it is by the other facts (0: impossible), its text, and its row of `gateway.diagnosis.catalog`."""

    weight: Callable[[CredentialProbe], int]
    words: Callable[[CredentialProbe], str]
    code: str = "invalid_client"


def causes(asked: CredentialProbe) -> list[Cause]:
    """Those that there may be, the likeliest first."""
    weighed = [(cause.weight(asked), cause) for cause in _CAUSES]
    return [cause for weight, cause in sorted(weighed, key=lambda pair: -pair[0]) if weight]


def _is_signed(asked: CredentialProbe) -> bool:
    return asked.shape.client_auth in _SIGNED


def _odd_secret(asked: CredentialProbe) -> str:
    return f"the configured secret {next(filter(None, asked.shape.doubts))}"


def _odd_id(asked: CredentialProbe) -> str:
    return f"the configured client id {asked.shape.client_id_doubt}"


def _wrong_secret(asked: CredentialProbe) -> str:
    several = " (none of those configured is taken)" if len(asked.shape.doubts) > 1 else ""
    return f"the secret is not the application's, or was regenerated{several}"


def _other_domain(asked: CredentialProbe) -> str:
    return f"the application is in another identity domain than {host_of(asked.shape.token_url)}"


_CAUSES = (
    Cause(lambda asked: 9 * is_late(asked), lambda asked: compared(asked.skew), "clock-skew"),
    Cause(lambda asked: 8 * any(asked.shape.doubts), _odd_secret, "secret-blank"),
    Cause(lambda asked: 7 * bool(asked.shape.client_id_doubt), _odd_id, "client-id-shape"),
    Cause(lambda asked: 6 * _is_signed(asked), lambda _: "the key or certificate is not known there", "client-key"),
    Cause(lambda asked: 5 * (not _is_signed(asked)), _wrong_secret),
    # Two secrets that are both wrong are less likely than an application that takes none.
    Cause(lambda asked: 6 if len(asked.shape.doubts) > 1 else 4, lambda _: "the application is not activated"),
    Cause(lambda _: 3, lambda asked: f"client id {asked.shape.client_id} is of another application, or was deleted"),
    Cause(lambda _: 2, _other_domain),
    Cause(lambda asked: 1 * (not _is_signed(asked)), lambda _: "Client type is not Confidential"),
)
