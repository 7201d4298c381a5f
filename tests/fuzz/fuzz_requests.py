"""The target of a caller's bytes; `run` starts it."""

import sys

import atheris  # type: ignore[import-untyped] # lives in an environment of its own

with atheris.instrument_imports(include=["gateway"]):
    from tests.fuzz.claims import check_requests

if __name__ == "__main__":
    atheris.Setup(sys.argv, check_requests)
    atheris.Fuzz()
