"""Templates become HTML: Jinja2 with automatic escaping; a value that a template misses is an error."""

from collections.abc import Iterator, Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.console.formatting import FILTERS
from gateway.console.page import Page
from gateway.console.view_state import page_url


class TemplateRenderer:
    """Renders the templates of `gateway/console/templates`, each compiled once."""

    def render(self, page: Page, *, is_fragment: bool, values: Mapping[str, object]) -> bytes:
        """Return the HTML of a page. Its template extends `frame`: the whole layout, or nothing for a fragment, which
        replaces a part of the present page. `values` are those that all templates have.
        """
        return "".join(self.render_pieces(page, is_fragment=is_fragment, values=values)).encode()

    def render_pieces(self, page: Page, *, is_fragment: bool, values: Mapping[str, object]) -> Iterator[str]:
        """Yield the same in small pieces, so that other tasks can run between them."""
        frame = "fragment.html" if is_fragment else "layout.html"
        template = _environment().get_template(page.template)
        yield from template.generate({**values, **page.values, "frame": frame})


def render_macro(template: str, macro: str, *arguments: object) -> str:
    """Return the HTML of one macro, with automatic escaping of its arguments."""
    return str(getattr(_environment().get_template(template).module, macro)(*arguments))


@cache
def _environment() -> Environment:
    """Return the one environment: each template is compiled once."""
    environment = Environment(
        loader=PackageLoader("gateway.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(page_url=page_url, may=lambda _: False)
    return environment
