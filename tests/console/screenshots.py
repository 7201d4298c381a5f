"""Write the pictures of the documentation: `python -m tests.console.screenshots FOLDER`, run by `make screenshots`."""

import asyncio
import io
import math
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.async_api import async_playwright

from tests.console.pages import PAGES
from tests.console.showcase import log_in, serve_showcase, showcase_gateway

PICTURES = {
    "overview": (1280, 860),
    "credential": (1280, 860),
    "route": (1280, 1000),
    "calls": (1280, 860),
    "call": (1280, 560),
    "usage": (1280, 560),
    "narrow": (360, 780),
}
"""By name: width and height of the window. `narrow` is the overview."""
COLOURS = 256
"""Of a picture: flat areas and text need no more, and the files stay small."""


async def write_pictures(folder: Path) -> None:
    """Write each picture in light and dark."""
    gate = showcase_gateway(time.time())
    gate.feed = asyncio.Queue()
    with tempfile.TemporaryDirectory() as own:
        async with serve_showcase(gate, Path(own)) as url, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            for scheme in ("light", "dark"):
                for name, (width, height) in PICTURES.items():
                    context = await browser.new_context(
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,
                        locale="en-GB",
                        timezone_id="Europe/Berlin",
                        reduced_motion="reduce",
                    )
                    page = await context.new_page()
                    await log_in(page, url)
                    await page.goto(url + PAGES.get(name, ""))
                    await page.wait_for_selector("html.has-script")
                    if name == "route":
                        await page.wait_for_selector("figure:last-of-type canvas")
                    if name == "calls":
                        await page.get_by_text("live", exact=True).wait_for()
                    _write_png(folder / f"console-{name}-{scheme}.png", await page.screenshot())
                    await context.close()
            await browser.close()


def _write_png(file: Path, content: bytes) -> None:
    """Write a picture with a palette, a third of the size: its most frequent colours exactly, the others as the nearest
    one of them. `Image.quantize` would shift all colours a little.
    """
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    colours = [colour for _, colour in sorted(picture.getcolors(picture.width * picture.height), reverse=True)]
    palette = colours[:COLOURS]
    indexes = {colour: min(range(len(palette)), key=lambda at: math.dist(colour, palette[at])) for colour in colours}
    small = Image.new("P", picture.size)
    small.putpalette([part for colour in palette for part in colour])
    small.putdata([indexes[colour] for colour in picture.get_flattened_data()])
    small.save(file, optimize=True)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(write_pictures(target))
