"""The reference is the model's, and complete."""

import subprocess
import sys
from pathlib import Path

from gateway.config import listen_model, log_model, model, route_model, state_model
from gateway.config.reference import reference_text
from gateway.config.strict_model import SecretRef, StrictModel


def test_the_committed_reference_is_the_model_s() -> None:
    file = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert file.read_text(encoding="utf-8") == reference_text()


def test_the_module_prints_the_reference() -> None:
    printed = subprocess.run([sys.executable, "-m", "gateway.config.reference"], capture_output=True, check=True)
    assert printed.stdout.decode() == reference_text()


def test_every_key_has_its_line() -> None:
    lines = reference_text().splitlines()
    places: dict[str, type[StrictModel]] = {
        "": model.Config,
        "listen[].": listen_model.ListenSettings,
        "listen[].tls.": listen_model.ListenTls,
        "credentials.NAME.": model.CredentialSettings,
        "credentials.NAME.client_secret.": SecretRef,
        "defaults.": route_model.RouteSettings,
        "routes[].": route_model.RouteEntry,
        "routes[].timeout.": route_model.TimeoutSettings,
        "routes[].headers.": route_model.HeaderSettings,
        "routes[].query.": route_model.QuerySettings,
        "routes[].instance_id[].": route_model.InstanceIdSettings,
        "routes[].proxy.password.": SecretRef,
        "limits.": model.LimitSettings,
        "pool.": model.PoolSettings,
        "log.": log_model.LogSettings,
        "log.to.": log_model.LogTargetSettings,
        "state.": state_model.StateSettings,
        "state.redis.": state_model.RedisSettings,
        "state.redis.sentinel.": state_model.LoginSettings,
        "state.keys[].": SecretRef,
    }
    for place, part in places.items():
        for name, field in part.model_fields.items():
            key = field.alias or name
            (line,) = [line for line in lines if line.startswith(f"| `{place}{key}` |")]
            assert all(cell.strip() for cell in line.split(" | ")[1::2])


def test_a_line_contains_value_default_and_meaning() -> None:
    text = reference_text()
    assert "| `limits.fields` | whole number, 8 to 1000 | `128` | Largest number of header fields. |" in text
    assert "| `pool.max_age` | duration | `10m` | " in text
    assert "| `routes[].upstream` | string | **required** | URL" in text
    assert "| `credentials.NAME.scope` | string or list of string |  | Scope" in text
