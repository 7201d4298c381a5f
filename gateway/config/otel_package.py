"""Whether the messages of OpenTelemetry are installed, which `telemetry` needs."""

import importlib.util

MISSING = "needs the package `opentelemetry-proto`, which is not installed"
INSTALL = "run: pip install 'oic-gateway[otel]'"


def is_installed() -> bool:
    """Return whether the package can be imported."""
    try:
        return importlib.util.find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:  # no package `opentelemetry` at all
        return False
