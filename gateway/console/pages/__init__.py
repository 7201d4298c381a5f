"""The pages of the console by path: `overview_page`, `credential_page`, `service_page`, `route_pages`, `call_pages`,
`caller_page`, `usage_page`, `configuration_page`, `audit_page`, and `missing_page` for names that do not exist.
`series_data` are the numbers of charts.
"""

from collections.abc import Mapping

from gateway.console.page import PageHandler
from gateway.console.pages import (
    audit_page,
    call_pages,
    caller_page,
    configuration_page,
    credential_page,
    overview_page,
    route_pages,
    series_data,
    service_page,
    usage_page,
)

PAGES: Mapping[tuple[str, ...], PageHandler] = {
    (): overview_page.show_overview,
    ("credentials", "*"): credential_page.show_credential,
    ("routes",): route_pages.show_routes,
    ("routes", "*"): route_pages.show_route,
    ("services", "*"): service_page.show_service,
    ("calls",): call_pages.show_calls,
    ("calls", "live"): call_pages.stream_calls,
    ("calls", "*"): call_pages.show_call,
    ("callers",): caller_page.show_callers,
    ("usage",): usage_page.show_usage,
    ("usage.csv",): usage_page.send_usage_csv,
    ("audit",): audit_page.show_audit,
    ("configuration",): configuration_page.show_configuration,
    ("series",): series_data.send_series,
}
"""By path below `/console/`; `*` stands for any one segment, as in `("credentials", "*")`."""
