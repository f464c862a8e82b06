"""The JSON Schema of `jackfield.toml`, for editors; it is shipped as `jackfield.schema.json` beside this module."""

import inspect
import json
import re
from typing import Any

import attrs
import msgspec

from jackfield.config import model

_TABLES = tuple(
    cls for cls in vars(model).values() if isinstance(cls, type) and attrs.has(cls) and cls is not model.Configuration
)
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def json_schema() -> dict[str, Any]:
    """Describe the file for editors and validators.

    Returns:
        A JSON Schema (draft 2020-12), whose descriptions are the docstrings of the model. What needs more than one
        value to be judged (dependencies, sums, secrets) only `load_config` can see.
    """
    _, definitions = msgspec.json.schema_components([model.Document], ref_template="#/$defs/{name}")
    documents = {cls.__name__: cls for cls in _TABLES}
    for name, definition in definitions.items():
        _describe(definition, documents[name])
    document = definitions.pop(model.Document.__name__)
    routes = document["properties"]["routes"]
    routes["additionalProperties"] = {"anyOf": [{"type": "string", "minLength": 1}, routes["additionalProperties"]]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "jackfield.toml",
        **{key: value for key, value in document.items() if key != "title"},
        "$defs": dict(sorted(definitions.items())),
    }


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
    for name, schema in definition["properties"].items():
        _without_null(schema)
        schema["description"] = texts[name]
        if schema.get("default") == ():
            schema["default"] = []


def _without_null(schema: dict[str, Any]) -> None:
    """TOML has no null: an optional key is one that may be absent."""
    options = schema.get("anyOf", ())
    if {"type": "null"} in options:
        (only,) = (option for option in options if option != {"type": "null"})
        del schema["anyOf"]
        schema.pop("default", None)
        schema.update(only)
