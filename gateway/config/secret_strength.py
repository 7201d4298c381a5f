"""Estimate how many guesses a secret withstands at most. Pure."""

import math
import string

ENOUGH_BITS = 128
"""Bits of a secret that no attacker can guess: 22 random letters and digits, or 32 hexadecimal digits."""
_ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase, string.punctuation + " ")
_HEX = (frozenset("0123456789abcdef"), frozenset("0123456789ABCDEF"))
_OTHER = 100  # assumed size of the alphabet of all other characters


def estimate_bits(secret: str) -> float:
    """Return the entropy of a random secret of this length and alphabet, in bits. It is an upper bound: a word that a
    person has chosen is weaker. A character that repeats the one before it does not count.
    """
    letters = set(secret)
    if any(letters <= digits for digits in _HEX):
        size = 10 if letters <= set(string.digits) else 16
    else:
        size = sum(len(alphabet) for alphabet in _ALPHABETS if letters.intersection(alphabet))
        size += _OTHER if letters.difference(*_ALPHABETS) else 0
    length = sum(one != other for one, other in zip(secret, "\0" + secret, strict=False))
    return length * math.log2(size) if length else 0.0
