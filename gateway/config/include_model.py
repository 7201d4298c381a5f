"""The shape of `include`, and of a file that it includes."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, ValidationError

from gateway.config.strict_model import StrictModel
from gateway.config.values import PATH_PATTERN, Name, Text

MAX_ENTRIES = 256
INCLUDED_KEYS = ("credentials", "callers", "routes")
"""The keys of an included file."""


class IncludeSettings(StrictModel):
    """Files to include."""

    files: Text
    """Pattern of the files, relative to the folder of this file: `*` and `?` match within a name, `**` any folders."""
    path: Annotated[str, Field(pattern=PATH_PATTERN)] | None = None
    """Path prefix under which all routes of the files must lie, in whole segments. Routes of other included files must
    not lie there. Omitted: any path."""
    owner: Name | None = None
    """Name of the team that owns the files; it is shown with each problem in them. Files of one owner share their
    credentials and callers. Omitted: each file has its own."""
    lend: list[Name] = Field(default_factory=list)
    """Credentials of this file that the routes of the files may use; omitted: none."""


def _kind_of_entry(value: object) -> str:
    return "[keys]" if isinstance(value, dict | StrictModel) else "[one]"


# The discriminator keeps an error in one shape from being reported for the other, too; `messages` drops the tags.
IncludeEntry = Annotated[
    Annotated[Text, Tag("[one]")] | Annotated[IncludeSettings, Tag("[keys]")], Discriminator(_kind_of_entry)
]
Include = Annotated[list[IncludeEntry], Field(max_length=MAX_ENTRIES)]

SHARED_SETTINGS = {
    ("credentials", "budget"): (
        "limits the token requests of other files too",
        "set it at a credential of the main file",
    ),
    ("callers", "share"): (
        "takes places from callers of other files",
        "set it at a caller of the main file",
    ),
}
"""By kind and key: the problem of a setting of an included file, and its remedy."""


def parse_entries(value: Any) -> list[tuple[int, IncludeSettings]]:
    """Return the entries of the plain value of `include` with their numbers, without malformed ones, which the model
    reports.
    """
    entries = []
    for index, written in enumerate(value if isinstance(value, list) else ()):
        try:
            entry = IncludeSettings.model_validate({"files": written} if isinstance(written, str) else written)
        except ValidationError:
            continue
        entries.append((index, entry))
    return entries
