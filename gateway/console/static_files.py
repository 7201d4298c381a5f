"""The files of the console that browsers load: styles and scripts, read once."""

import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_TYPES = mimetypes.MimeTypes(filenames=())
_TYPES.add_type("text/javascript", ".js")
_TYPES.add_type("image/svg+xml", ".svg")


class StaticFile(NamedTuple):
    """The content of a file, its media type and its entity tag (RFC 9110 §8.8.3)."""

    body: bytes
    content_type: str
    etag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Return the files of `gateway/console/static` by name. Nothing else can be served, whatever a path contains."""
    found = (file for file in files("gateway.console").joinpath("static").iterdir() if file.is_file())
    return {file.name: _static_file(file.name, file.read_bytes()) for file in found}


def _static_file(name: str, body: bytes) -> StaticFile:
    media_type = _TYPES.guess_type(name)[0] or "application/octet-stream"
    content_type = f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
    return StaticFile(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
