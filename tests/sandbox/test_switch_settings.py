import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox.flows import FLOWS
from gateway.sandbox.switches import Switches, read_setting, settings

DOCUMENT = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("application=inactive", "inactive"),
        ("clock_offset=-90.5", -90.5),
        ("allowlisted=false", False),
        ("allowlist_refusal=reset", "reset"),
        ("role_refusal=403", 403),
        ("roles=ServiceUser,ServiceInvoker", ("ServiceUser", "ServiceInvoker")),
        ("roles=", ()),
        ("token_budget_per_minute=150", 150),
        ("token_budget_per_minute=", None),
        ("token_retry_after=a=b", "a=b"),
        ("token_fault=", ""),
        ("refresh_grace=10", 10),
    ],
)
def test_a_switch_is_read_in_its_type(word: str, value: Any) -> None:
    name, read = read_setting(word)
    assert (name, read, type(read)) == (word.partition("=")[0], value, type(value))
    setattr(Switches(), name, read)


@pytest.mark.parametrize(
    "word", ["aplication=inactive", "application", "=", "", "token_gate=1", "slow_gate=", "application =inactive"]
)
def test_an_unknown_name_is_answered_with_the_list(word: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=VALUE") as raised:
        read_setting(word)
    for name in settings():
        assert f"\n  {name}=" in str(raised.value)


@pytest.mark.parametrize(
    ("word", "takes"),
    [
        ("application=asleep", "active, inactive"),
        ("role_refusal=402", "401, 403"),
        ("clock_offset=inf", "a number"),
        ("clock_offset=", "a number"),
        ("drops=-1", "a whole number"),
        ("drops=1.5", "a whole number"),
        ("allowlisted=maybe", "true, false"),
        ("roles=ServiceInvoker,Servant", "several of ServiceInvoker, "),
        ("token_budget_per_second=many", "a whole number, (nothing)"),
    ],
)
def test_a_bad_value_is_answered_with_what_it_takes(word: str, takes: str) -> None:
    name, _, value = word.partition("=")
    with pytest.raises(ValueError, match=re.escape(f"{name} cannot be {value!r}; it takes {takes}")):
        read_setting(word)


def test_every_switch_but_the_gates_can_be_written() -> None:
    defaults = {field.name: field.default for field in fields(Switches)}
    gates = {name for name in defaults if name.endswith("_gate")}
    assert len(gates) == 4
    assert set(settings()) == set(defaults) - gates
    for name, setting in settings().items():
        assert read_setting(f"{name}={setting.default}") == (name, defaults[name])


def test_the_document_lists_every_switch_as_it_is() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCUMENT.splitlines()]
    documented = {row[0].strip("`"): row[1:] for row in rows if len(row) == 4 and row[0].startswith("`")}
    assert set(documented) == set(settings())
    for name, setting in settings().items():
        values, default, means = documented[name]
        assert (values, default) == (setting.values, f"`{setting.default}`" if setting.default else "")
        assert len(means) > 10


@pytest.mark.parametrize("code", [*FLOWS, "ORDERS", "PROJORDERS", "HELLO"])
def test_the_document_names_every_trigger(code: str) -> None:
    assert f"\n| {code} | " in DOCUMENT
