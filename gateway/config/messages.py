"""Messages for the errors of pydantic. Pure; no message contains a value of the file."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config import caller_model, model, values
from gateway.config.issue import ConfigIssue, Steps, is_plain, is_secret
from gateway.config.strict_model import REFERENCE_KEYS, StrictModel

_TAGS = frozenset(
    {"[key]", "[keys]", "[one]", "[several]"}
)  # of pydantic and of the model, among the steps of an error
EMPTY = ("is empty", "write a value, or remove the key")
_QUOTES = ("must be a string", "quote it")

# By pydantic's error type; `{…}` is filled from the error's context.
MESSAGES = {
    "missing": ("is missing", "add it"),
    "string_type": ("must be a string", "write a single value"),
    "literal_error": ("is not an allowed value", "write {expected}"),
    "bool_type": ("must be true or false", "write true or false, without quotes"),
    "int_type": ("must be a whole number", "write digits only, without quotes or unit"),
    "float_type": ("must be a number", "write it like 0.2, without quotes or unit"),
    "list_type": ("must be a list", "write it like [a, b], or one `- a` per line"),
    "dict_type": ("must be a mapping", "write `key: value` lines under it"),
    "model_type": ("must be a mapping", "write `key: value` lines under it"),
    "greater_than_equal": ("is too small", "write {ge} or more"),
    "less_than_equal": ("is too large", "write {le} or less"),
    "too_long": ("is too long a list", "write at most {max_length} entries"),
    "too_short": ("is an empty list", "write at least one entry"),
    "string_too_short": ("is empty", "write a value"),
    "string_too_long": ("is too long", "write at most {max_length} characters"),
}
_PATTERNS = {
    values.NAME_PATTERN: (
        "is not a name",
        "use up to 63 letters, digits, `.`, `_`, `-`, beginning with a letter or digit",
    ),
    values.PATH_PATTERN: ("does not begin with a slash", "write it like /orders/"),
    values.VARIABLE_PATTERN: ("is not the name of an environment variable", "write it like ORDERS_SECRET"),
    values.CREDENTIAL_PATTERN: (
        "is not the name of a credential of systemd",
        "write it as in LoadCredential=, like app",
    ),
    values.OCID_PATTERN: ("is not the OCID of a secret", "write it like ocid1.vaultsecret.oc1.phx.…, not the vault's"),
    values.VAULT_PATH_PATTERN: (
        "is not a path in Vault",
        "write it like apps/orders, without a slash at its ends",
    ),
    values.HOST_PATTERN: ("is not a host name", "write it like gw.example.com, without scheme or port"),
    values.FIELD_PATTERN: ("is not the name of a header field", "write it like X-Source"),
    values.VALUE_PATTERN: ("is not the value of a header field", "use printable ASCII, without a space at either end"),
    values.POINTER_PATTERN: ("is not a JSON pointer", "write it like /oicInstanceId or /data/0/id"),
    values.TAG_PATTERN: ("is not the name of an element", "write it without prefix, like oicInstanceId"),
    caller_model.FINGERPRINT_PATTERN: (
        "is not a SHA-256 fingerprint",
        "write its 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256 -in FILE` prints them",
    ),
    values.ORIGIN_PATTERN: ("is not an origin", "write it like https://app.example.com, without a path, or *"),
}


def config_issues(error: ValidationError) -> list[ConfigIssue]:
    """Return one issue for each error of pydantic."""
    return [_config_issue(detail) for detail in error.errors(include_url=False)]


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return the remedy for a misspelt name: the nearest known name, else `otherwise`."""
    near = difflib.get_close_matches(name[:64], sorted(known), 1)
    return f"did you mean `{near[0]}`?" if near else otherwise


def _config_issue(detail: ErrorDetails) -> ConfigIssue:
    steps = tuple(step for step in detail["loc"] if step not in _TAGS)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(steps)
    if kind == "missing":
        return ConfigIssue(steps, *MESSAGES[kind])
    if detail["input"] is None:
        return ConfigIssue(steps, *EMPTY)
    if kind == "string_type" and isinstance(detail["input"], int | float):
        return ConfigIssue(steps, *_QUOTES)
    return ConfigIssue(steps, *_message(kind, detail.get("ctx", {})))


def _message(kind: str, context: Mapping[str, Any]) -> tuple[str, str]:
    if kind == "value_error":
        what, _, remedy = str(context["error"]).partition("; ")
        return what, remedy
    if kind == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    what, remedy = MESSAGES.get(kind, ("is not valid", "compare it with the output of `oic-gateway schema`"))
    return what, remedy.format(**context)


def _unknown_key(steps: Steps) -> ConfigIssue:
    parent, key = steps[:-1], str(steps[-1])
    if is_secret(parent):
        return ConfigIssue(
            parent,
            f"has a key other than {REFERENCE_KEYS}",
            "write {file: /path} or {env: NAME}",
        )
    known = _keys_at(parent)
    if not is_plain(key):
        return ConfigIssue(steps, "is not a known key", f"the keys are {', '.join(known)}")
    return ConfigIssue(
        steps, "is not a known key", did_you_mean(key, known, otherwise=f"the keys are {', '.join(known)}")
    )


def _keys_at(steps: Steps) -> list[str]:
    section: type[StrictModel] | None = model.Config
    is_entry = False
    for step in steps:
        if is_entry or isinstance(step, int):
            is_entry = False
            continue
        annotation = _annotations(section)[str(step)] if section else None
        section, is_entry = _model_in(annotation), get_origin(annotation) in {dict, list}
    return sorted(_annotations(section)) if section else []


def _annotations(section: type[StrictModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def _model_in(annotation: Any) -> type[StrictModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, StrictModel):
        return annotation
    return next((section for section in map(_model_in, get_args(annotation)) if section), None)
