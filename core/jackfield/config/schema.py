"""The JSON Schema of `jackfield.toml`, for editors; it is shipped as `jackfield.schema.json` beside this module."""

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import attrs
import msgspec

from jackfield.config import model
from jackfield.config.keys import keys

_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def json_schema() -> dict[str, Any]:
    """Describe the file for editors and validators.

    Returns:
        A JSON Schema (draft 2020-12), whose descriptions are the docstrings of the model. What needs more than one
        value to be judged (dependencies, sums, secrets) only `load_config` can see.
    """
    schema = schema_of(model.Document, "jackfield.toml")
    routes = schema["properties"]["routes"]
    routes["additionalProperties"] = {"anyOf": [{"type": "string", "minLength": 1}, routes["additionalProperties"]]}
    return schema


def schema_of(document: type[Any], title: str) -> dict[str, Any]:
    """Describe any model of tables and leaves; the descriptions are the docstrings of its classes.

    Args:
        document: the attrs class of the whole file.
        title: the file's name.
    """
    _, definitions = msgspec.json.schema_components([document], ref_template="#/$defs/{name}")
    classes = {cls.__name__: cls for cls in _tables(document)}
    for name, definition in definitions.items():
        _describe(definition, classes[name])
    whole = definitions.pop(document.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **{key: value for key, value in whole.items() if key != "title"},
        "$defs": dict(sorted(definitions.items())),
    }


def _tables(cls: Any) -> Iterator[type[Any]]:
    """Walk the classes that a type is made of."""
    if isinstance(cls, type) and attrs.has(cls):
        yield cls
        for field in attrs.fields(cls):
            yield from _tables(field.type)
    else:
        for part in get_args(cls):
            yield from _tables(part)


def schema_text() -> str:
    """Render the schema as it is shipped."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _describe(definition: dict[str, Any], cls: type) -> None:
    """Make the definition say what the class says."""
    doc = inspect.getdoc(cls) or ""
    definition["description"] = doc.partition("\n\n")[0]
    definition["additionalProperties"] = False
    if not definition["required"]:
        del definition["required"]
    texts = {name: " ".join(text.split()) for name, text in _ENTRY.findall(doc)}
    definition["properties"] = {
        key: definition["properties"][name] for key, name in keys(cls).items() if name in definition["properties"]
    }
    for key, schema in definition["properties"].items():
        _without_null(schema)
        schema["description"] = texts[keys(cls)[key]]
        if isinstance(schema.get("default"), tuple):
            schema["default"] = list(schema["default"])
        if schema.get("default", ...) is None:
            del schema["default"]


def _without_null(schema: dict[str, Any]) -> None:
    """TOML has no null: an optional key is one that may be absent."""
    null = {"type": "null"}
    left = [option for option in schema.get("anyOf", ()) if option != null]
    if null in schema.get("anyOf", ()):
        del schema["anyOf"]
        schema.pop("default", None)
        schema.update(left[0] if len(left) == 1 else {"anyOf": left})
