"""The page of a name that does not exist, or no longer."""

from gateway.console.page import Page


def missing_page(kind: str, name: str, section: str) -> Page:
    """Return the answer for a `kind` of thing that has no such name."""
    values = {"title": f"No {kind} {name}", "section": section, "kind": kind, "name": name}
    return Page("missing.html", values, status=404)
