"""The files of the upstream: bodies without a URL of OIC, those of 1 KiB in as many lengths as a load has variants."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

from bench.workloads import MIB, VARIANTS

GIB = 1024 * MIB
KIB = 1024

_LINE = (
    '<ord:line number="{0}"><ord:item>FM-{0:05d}</ord:item><ord:text>Flow meter DN 80/100, flanged</ord:text>'
    "<ord:ordered>2026-01-31T12:00:{0:02d}Z</ord:ordered><ord:quantity>{0}</ord:quantity></ord:line>"
)
_SOAP = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:ord="http://xmlns.example.com/orders/v2">'
    "<soap:Body><ord:orderResponse><ord:status>SHIPPED</ord:status>{lines}"
    "<ord:remark>{padding}</ord:remark></ord:orderResponse></soap:Body></soap:Envelope>\n"
)
_WORDS = "as agreed with the supplier on the 31st; deliver to gate 4, "


def make_files(www: Path) -> None:
    """Write all files below a new folder."""
    www.mkdir(parents=True)
    for name, make in (("k1", _letters), ("json", json_text), ("xml", _soap)):
        for number in range(VARIANTS):
            (www / f"{name}-{number}").write_text(make(KIB - number))
    (www / "k1").write_text(_letters(KIB))
    for name, size in (("m1", MIB), ("m64", 64 * MIB)):
        (www / name).write_text(json_text(size))
    (www / "post").touch()
    with (www / "g1").open("wb") as file:
        file.truncate(GIB)  # a hole: takes no room


def json_text(size: int) -> str:
    """Return a list of orders in JSON of exactly this size."""
    items = _within(size - KIB // 2, itertools.cycle([json.dumps(_order(number)) + "," for number in range(1000)]))
    start, end = f'{{"items":[{items.rstrip(",")}],"hasMore":false,"remark":"', '"}'
    return start + _padding(size - len(start) - len(end)) + end


def _letters(size: int) -> str:
    return json.dumps({"data": "x" * (size - 12)})


def _soap(size: int) -> str:
    lines = _within(size - KIB // 2, map(_LINE.format, range(size)))
    frame = _SOAP.format(lines=lines, padding="")
    return _SOAP.format(lines=lines, padding=_padding(size - len(frame)))


def _order(number: int) -> dict[str, object]:
    return {
        "id": f"ORD-{number:07d}",
        "status": "SHIPPED",
        "item": "Flow meter DN 80/100, flanged",
        "ordered": f"2026-01-31T12:{number % 60:02d}:00.000+00:00",
        "drawing": f'4/{number % 97}, "rev. C"',
        "quantity": number % 50,
        "price": 17.25,
    }


def _within(size: int, texts: Iterable[str]) -> str:
    """Return as many of the texts as fit into this size."""
    found: list[str] = []
    left = size
    for text in texts:
        left -= len(text)
        if left < 0:
            break
        found.append(text)
    return "".join(found)


def _padding(size: int) -> str:
    return (_WORDS * (size // len(_WORDS) + 1))[:size]
