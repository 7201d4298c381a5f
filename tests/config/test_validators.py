"""Validators take a tenth of the start: only those that check the file are built, and each class is checked once."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config.model import Config, CredentialSettings
from gateway.config.route_model import HeaderSettings, TimeoutSettings
from gateway.config.strict_model import StrictModel
from gateway.wiring.credentials import _authentication_hash
from tests.fakes.process import ROOT
from tests.system.scene import simple, written

# All that a start does with the configuration of one route.
BUILD = """
import asyncio, sys
from pydantic import BaseModel
from gateway.config.load import load
from gateway.config.resolved import listeners_of
from gateway.observe.metrics import Metrics
from gateway.wiring.components import Components

def subclasses(of):
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)

async def build(config):
    components = Components(Metrics(""), environ={"APP_SECRET": "x"})
    components.adopt(components.build_runtime(config, components.load_files(config)))
    await components.close()

config = load(sys.argv[1], environ={"APP_SECRET": "x"}).config
listeners_of(config)
asyncio.run(build(config))
print(*sorted(each.__name__ for each in set(subclasses(BaseModel)) if each.__pydantic_complete__))
"""


def test_a_start_builds_few_validators(tmp_path: Path) -> None:
    file = written(tmp_path, simple("http://127.0.0.1:1/token", "http://127.0.0.1:1/"))
    command = [sys.executable, "-c", BUILD, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Config", "SecretRef"]


CLASSES = [
    HeaderSettings,
    TimeoutSettings,
    *(field.annotation for field in Config.model_fields.values() if field.default_factory is not None),
]


def is_model(shape: object) -> bool:
    return isinstance(shape, type) and issubclass(shape, StrictModel)


@pytest.mark.parametrize("shape", [*filter(is_model, CLASSES)])
def test_defaults_are_as_validated_ones(shape: type[StrictModel]) -> None:
    assert shape.model_construct() == shape.model_validate({})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"client_secret": {"env": "A"}}, "8a27bf87c0ee1d80"),
        (
            {"client_secret": [{"env": "A"}, {"file": "/b"}], "client_auth": "post", "tls": {"ca": "/ca.pem"}},
            "1b10c40fcb4560bb",
        ),
        (
            {"client_auth": "private_key_jwt", "signing": {"private_key": {"env": "K"}, "lifetime": "2m"}},
            "eb44d0529974b697",
        ),
    ],
)
def test_versions_share_failures_of_the_same_secret(settings: dict[str, object], expected: str) -> None:
    written = {"token_url": "https://idcs.example/oauth2/v1/token", "client_id": "a", "scope": "s", **settings}
    credential = CredentialSettings.model_validate(written, context={"base": "/"})
    assert _authentication_hash(credential) == expected
