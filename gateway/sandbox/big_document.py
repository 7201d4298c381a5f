"""BIG: a JSON document of many megabytes that is never built, for whoever rewrites links in flight. Pure."""

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

_ITEMS = 128
_TEXT = "Flow meter DN 80, flanged, with certificate; see drawing 4/7 \\ rev. é. " * 3


def big(
    mebibytes: int, base: str, *, has_links: bool = True, spell: Callable[[str], str] | None = None
) -> Iterator[bytes]:
    """Pieces of one JSON object `{"items": […], "count": N}` of about that size, the same for the same arguments.

    Each item has four links: below `base`, at another integration of its origin, at a stranger, at a host that only
    begins like that of `base`; `has_links` False: none. `spell` rewrites the text of a piece before it is encoded.
    """
    text = _block(base, has_links=has_links)
    block = (spell(text) if spell else text).encode()
    count = max(1, (mebibytes << 20) // len(block))
    yield b'{"items":['
    for _ in range(count - 1):
        yield block
    yield block.removesuffix(b",")
    yield b'],"count":%d}' % (count * _ITEMS)


@functools.lru_cache(maxsize=16)
def _block(base: str, *, has_links: bool) -> str:
    items = (_item(number, base, has_links=has_links) for number in range(_ITEMS))
    return "".join(f"{json.dumps(item, ensure_ascii=False)}," for item in items)


def _item(number: int, base: str, *, has_links: bool) -> dict[str, Any]:
    parts = urlsplit(base)
    origin = f"{parts.scheme}://{parts.netloc}"
    stranger = f"{parts.scheme}://{parts.hostname}.example:{parts.port or 443}"
    links = {
        "self": f"{base}/items/{number}",
        "order": f"{origin}/ic/api/integration/v1/flows/rest/ORDERS/1.0/{1001 + number}",
        "supplier": f"https://supplier.example/items/{number}?unit=%2Fdn80",
        "mirror": f"{stranger}/ic/api/integration/v1/flows/rest/ORDERS/1.0/{1001 + number}",
    }
    item = {"id": number, "item": _TEXT, "quantity": number * 3, "price": 17.25, "isActive": number % 2 == 0}
    return item | ({"links": [{"rel": rel, "href": href} for rel, href in links.items()]} if has_links else {})
