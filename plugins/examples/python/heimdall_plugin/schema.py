"""Settings and input: schemas, defaults, secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import Error

JSON_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
                              "boolean": bool, "null": type(None)}


def is_a(value: Any, kind: str) -> bool:
    """Reports whether a value is of a type of JSON Schema. To Python, but not to JSON, True is an integer."""
    return isinstance(value, JSON_TYPES[kind]) and isinstance(value, bool) is (kind == "boolean")


def fit(value: Any, schema: Any, at: str = "") -> Any:
    """Returns a value with its defaults, or raises ValueError if it does not fit.

    Of JSON Schema it knows type, enum, minimum, maximum, properties, required,
    additionalProperties, items and default; the rest only documents.
    """
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if kinds and not any(is_a(value, kind) for kind in kinds):
        raise ValueError(f"{at or 'it'} must be of type {' or '.join(kinds)}")
    if "enum" in schema and value not in schema["enum"]:
        raise ValueError(f"{at} must be one of {json.dumps(schema['enum'])}")
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        raise ValueError(f"{at} must lie between {schema.get('minimum', '-∞')} and {schema.get('maximum', '∞')}")
    if isinstance(value, list):
        return [fit(inner, schema.get("items", {}), f"{at}/{i}") for i, inner in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", []):
        if name not in value:
            raise ValueError(f"{at}/{name} is missing")
    if others is False and (unknown := sorted(value.keys() - properties.keys())):
        raise ValueError(f"{at}/{unknown[0]} is not known; known: {', '.join(sorted(properties)) or 'nothing'}")
    defaults = {name: inner["default"] for name, inner in properties.items() if "default" in inner}
    others = {} if isinstance(others, bool) else others
    return {name: fit(inner, properties.get(name, others), f"{at}/{name}") for name, inner in {**defaults, **value}.items()}


def secrets_of(request: Any) -> dict[str, str]:
    """Returns the secrets of a request by their JSON pointers."""
    return {secret.pointer: secret.value.decode("utf-8", "replace") for secret in request.secrets}


def insert(document: Any, secrets: Mapping[str, str]) -> Any:
    """Puts secrets to where their pointers say."""
    for pointer, value in secrets.items():
        *path, last = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
        place = document
        for token in path:
            place = place[int(token)] if isinstance(place, list) else place.setdefault(token, {})
        place[int(last) if isinstance(place, list) else last] = value
    return document


def read(request: Any, schema: Any) -> Any:
    """Returns the settings of a request, with secrets and defaults."""
    try:
        return fit(insert(json.loads(request.settings or "{}"), secrets_of(request)), schema)
    except (ValueError, LookupError, AttributeError, TypeError) as cause:
        raise Error("internal", f"settings: {cause}") from cause
