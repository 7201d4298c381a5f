"""Compares this machine's clock with an identity domain's."""

from gateway.diagnosis.facts import CredentialProbe

SKEW = 60.0
"""Seconds that two clocks may differ: identity servers allow about so much, and `Date` has whole seconds."""


def is_apart(asked: CredentialProbe) -> bool:
    """The clocks differ by more than `SKEW`."""
    return asked.skew is not None and abs(asked.skew) > SKEW


def is_late(asked: CredentialProbe) -> bool:
    """The same where it matters at once: to what is signed here and judged there."""
    return is_apart(asked) and (asked.shape.client_auth == "private_key_jwt" or asked.shape.grant == "jwt_bearer")


def compared(skew: float | None) -> str:
    """How the identity domain's clock stands, in words."""
    if skew is None or abs(skew) < 2:
        return "the clocks agree"
    return f"the identity domain's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
