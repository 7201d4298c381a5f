"""The overview: what needs a person, and all credentials."""

from gateway.console.page import Page, PageRequest


async def show_overview(request: PageRequest) -> Page:
    """Return the overview."""
    status = await request.backend.status()
    return Page("overview.html", {"title": "Overview", "credentials": status["credentials"]})
