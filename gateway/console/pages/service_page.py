"""The page of one service: its places, circuit breaker, figures, charts and routes."""

from gateway.console.page import Page, PageRequest
from gateway.console.pages.missing_page import missing_page
from gateway.console.pages.route_pages import PAGE_SIZE, example_url
from gateway.console.pages.series_data import chart_values
from gateway.console.view_overview import route_rows, service_rows


async def show_service(request: PageRequest) -> Page:
    """Return the page of the service that the path names."""
    name = request.path[1]
    status = await request.backend.status()
    row = next((row for row in service_rows(status) if row.name == name), None)
    if row is None:
        return missing_page("service", name, "Overview")
    routes = [route for route in route_rows(status) if route.service == name]
    values = await chart_values(request, "service", name) | {
        "title": name,
        "section": "Overview",
        "row": row,
        "routes": routes[:PAGE_SIZE],
        "route_count": len(routes),
        "example_url": example_url(str(status["listen"]), routes[0].path) if routes else "",
        "no_calls": "Send a call by one of its routes:" if routes else "No route leads to this service.",
    }
    return Page("service.html", values)
