"""The configuration in use, and what the last reload changed."""

from typing import Any

import yaml

from gateway.admin.console_backend import ConfigurationView
from gateway.console.page import Page, PageRequest

MAX_BLOCKS = 200
"""Blocks of the page; the filter finds the others."""


async def show_configuration(request: PageRequest) -> Page:
    """Return the blocks of the configuration that match `q`, with their files and lines."""
    view, q = await request.backend.configuration(), request.query.get("q", "").strip()
    blocks = [block for block in view.blocks if any(q.lower() in text.lower() for text in (block.name, block.file))]
    values = {
        "title": "Configuration",
        "section": "Configuration",
        "view": view,
        "blocks": blocks[:MAX_BLOCKS],
        "total": len(blocks),
        "q": q,
    }
    return Page("configuration.html", values)


def block_names(configuration: ConfigurationView, key: str) -> list[str]:
    """Return the names of the entries of a top-level key, such as those of `callers`."""
    return [block.name.partition(".")[2] for block in configuration.blocks if block.name.startswith(f"{key}.")]


def block_settings(configuration: ConfigurationView, name: str) -> dict[str, Any]:
    """Return the settings of a block, such as `routes.orders`; empty if there is no such block."""
    text = next((block.text for block in configuration.blocks if block.name == name), "")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    settings = document.get(name.partition(".")[2] or name) if isinstance(document, dict) else None
    return settings if isinstance(settings, dict) else {}
