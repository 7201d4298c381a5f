"""Find the references to files and secrets in plain values, by the model. Pure.

The model decides what a reference is: names that the user chooses may be equal to any key.
"""

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any, get_origin

from gateway.config.issue import FILE_KEYS, REFERENCES, Steps
from gateway.config.strict_model import SecretRef, StrictModel


def find_references(shape: Any, value: Any, steps: Steps = ()) -> Iterator[tuple[Any, str, Steps]]:
    """Yield each reference to a file or a secret in a plain value: the mapping with it, its key there, and its steps.

    `shape` is the model, or the annotation, of the value.
    """
    if isinstance(shape, type) and issubclass(shape, StrictModel):
        keys, annotations = _layout(shape)
        for key, inner in [*value.items()] if isinstance(value, dict) else ():
            if key in keys:
                if isinstance(inner, str) or (inner is not None and key not in FILE_KEYS):
                    yield value, key, (*steps, key)
            elif key in annotations and isinstance(inner, dict | list):
                yield from find_references(annotations[key], inner, (*steps, key))
        return
    inner_shapes, entries = getattr(shape, "__args__", ()), [(steps, value)]
    if get_origin(shape) in {dict, list}:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        entries = [((*steps, key), entry) for key, entry in items] if isinstance(value, get_origin(shape)) else []
        inner_shapes = inner_shapes[-1:]
    for (inner_steps, entry), inner in itertools.product(entries, inner_shapes):
        yield from find_references(inner, entry, inner_steps)


@cache
def _layout(shape: type[StrictModel]) -> tuple[frozenset[str], dict[str, Any]]:
    """Return the keys of a model that are references, and the annotations of those that may have some below."""
    fields = {field.alias or name: field.annotation for name, field in shape.model_fields.items()}
    keys = frozenset(REFERENCES if issubclass(shape, SecretRef) else FILE_KEYS.intersection(fields))
    return keys, {key: inner for key, inner in fields.items() if key not in keys and _may_refer(inner)}


def _may_refer(shape: Any) -> bool:
    if isinstance(shape, type) and issubclass(shape, StrictModel):
        keys, annotations = _layout(shape)
        return bool(keys or annotations)
    return any(map(_may_refer, getattr(shape, "__args__", ())))
