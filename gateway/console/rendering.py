"""Templates become HTML: Jinja2 with automatic escaping; a value that a template misses is an error."""

from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.console.page import Page


class TemplateRenderer:
    """Renders the templates of `gateway/console/templates`, each compiled once."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("gateway.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )

    def render(self, page: Page, *, is_fragment: bool, values: Mapping[str, object]) -> bytes:
        """Return the HTML of a page. Its template extends `frame`: the whole layout, or nothing for a fragment, which
        replaces a part of the present page. `values` are those that all templates have.
        """
        frame = "fragment.html" if is_fragment else "layout.html"
        template = self._environment.get_template(page.template)
        return template.render({**values, **page.values, "frame": frame}).encode()
