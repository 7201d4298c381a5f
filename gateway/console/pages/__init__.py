"""The pages of the console by path: `overview`."""

from collections.abc import Mapping

from gateway.console.page import PageHandler
from gateway.console.pages import overview

PAGES: Mapping[tuple[str, ...], PageHandler] = {
    (): overview.show_overview,
}
"""By path below `/console/`; `*` stands for any one segment, as in `("credentials", "*")`."""
