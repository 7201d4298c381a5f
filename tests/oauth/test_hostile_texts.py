"""Long foreign texts cost no more than their length: a quadratic step would exceed the processor time it may take."""

import resource
import subprocess
import sys

from tests.fakes.process import ROOT

MOST_SECONDS = 60  # of processor time, for ten or less; a quadratic expression takes minutes for one text so long
SCRIPT = """
import json, sys
from gateway.errors import TokenRefused, TokenUnavailable
from gateway.oauth.grants import read_jwt_claims, read_token_response
from gateway.observe.secret_mask import mask

def reply(text):
    for document in (
        {"error": "invalid_client", "error_description": text},
        {"error": text},
        {"access_token": text, "token_type": text, "expires_in": text, "scope": text},
        {"tokenResponses": [{"access_token": text, "scope": text}]},
    ):
        try:
            head, body = {"date": text, "retry-after": text}, json.dumps(document).encode()
            read_token_response(400, head, body, now=0.0, secret_texts=("s3cret-of-ours",), wanted_resource=text[:100])
            read_token_response(200, head, body, now=0.0, wanted_resource=text[:100])
        except (TokenRefused, TokenUnavailable):
            pass

for piece in sys.argv[1:]:
    print(repr(piece), flush=True)
    text = piece * (500_000 // len(piece))
    for tail in ("", "!", chr(0)):
        mask(text + tail)
        read_jwt_claims(text + tail)
        reply((text + tail)[-120_000:])
"""
PIECES = [
    "eyJ",
    "-eyJ",
    "eyJ.",
    "eyJa-",
    "://",
    "://a",
    "a@",
    "bearer ",
    "basic",
    "password",
    "password=",
    "password :",
    " ",
    'client_secret="',
    "&#",
    "%25",
    "\\\\u",
    "Mon, ",
    "9",
    "a.",
    "\n",
]


def _bound_processor_time() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))


def test_a_long_text_costs_no_more_than_its_length() -> None:
    """One process for all texts: its start takes longer than a text."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *PIECES],
        cwd=ROOT,
        preexec_fn=_bound_processor_time,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, (done.stdout[-50:], done.stderr[-500:])
