"""The diagram of docs/performance.md: bars of CPU time per request, one group for each workload, as SVG."""

from html import escape

from bench.results import Results
from bench.workloads import CONNECTIONS, WORKLOADS

_WIDTH, _LEFT, _RIGHT = 760, 210, 80
_BAR, _GAP, _HEAD = 18, 22, 58
_COLOURS = {"gateway": "#c74634", "envoy": "#7b61a8", "nginx": "#3f8f5f", "naive": "#8a8f98", "mitmproxy": "#b08d3e"}
_LEFT_OUT = {"mitmproxy"}  # fifteen times the others would leave them no room
# Readable on white and on black, so that the page around may be either.
_STYLE = "text{font:13px system-ui,sans-serif;fill:#7d838c}.title{font-weight:600;font-size:15px}.own{font-weight:600}"


def picture(results: Results) -> str:
    """Return the SVG; each group has its own scale, because a megabyte costs more than a kilobyte."""
    names = [name for name in results.contenders() if name not in _LEFT_OUT]
    parts, top = [], _HEAD
    for work in (work for work in results.workloads() if WORKLOADS[work].connections == CONNECTIONS):
        group, height = _group(results, work, names, top)
        parts.append(group)
        top += height + _GAP
    title = "CPU time per request in µs, shorter is better; every group has its own scale"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" aria-label="{title}">',
            f"<style>{_STYLE}</style>",
            f'<text class="title" x="12" y="26">{title}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _group(results: Results, work: str, names: list[str], top: int) -> tuple[str, int]:
    """Return the bars of one workload from `top` down, and their total height."""
    figures = [(name, results.rows[work, name].cpu_us) for name in names if (work, name) in results.rows]
    most = max((value for _, value in figures), default=1.0)
    lines = [f'<text class="title" x="12" y="{top + _BAR - 4}">{escape(work)}</text>']
    for place, (name, value) in enumerate(figures):
        lines += _bar(name, value, top + place * _BAR, (_WIDTH - _LEFT - _RIGHT) * value / most)
    return "\n".join(lines), _BAR * max(1, len(figures))


def _bar(name: str, value: float, top: int, length: float) -> list[str]:
    own = ' class="own"' if name == "gateway" else ""
    base = top + _BAR - 4
    return [
        f'<text{own} x="{_LEFT - 8}" y="{base}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{_LEFT}" y="{top + 2}" width="{length:.1f}" height="{_BAR - 4}" rx="2" fill="{_COLOURS[name]}"/>',
        f'<text{own} x="{_LEFT + length + 6:.1f}" y="{base}">{value:,.0f}</text>',
    ]
