"""What a field of the model is called in the file: by its name, but where Python has taken the word."""

from typing import Any

import attrs


def key_of(field: "attrs.Attribute[Any]") -> str:
    """Give the key of a field."""
    return str(field.metadata.get("key", field.name))


def keys(cls: type[Any]) -> dict[str, str]:
    """Key → field of a table, in the order of the model."""
    return {key_of(field): field.name for field in attrs.fields(cls)}
