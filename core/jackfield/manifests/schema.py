"""The JSON Schema of a manifest, for editors; it is shipped as `plugin-manifest.schema.json` beside this module."""

import json
from typing import Any

from jackfield.config.schema import schema_of
from jackfield.manifests.find import MANIFEST
from jackfield.manifests.model import Document


def json_schema() -> dict[str, Any]:
    """Describe the file for editors and validators.

    Returns:
        A JSON Schema (draft 2020-12), whose descriptions are the docstrings of the model.
    """
    schema = schema_of(Document, MANIFEST)
    for table in (schema, schema["$defs"]["ResourcesTable"]):
        capabilities = table["properties"]["capabilities"]
        listed = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
        capabilities["items"] = {"anyOf": [capabilities["items"], listed]}
    idempotent = schema["properties"]["idempotent"]
    words: dict[str, Any] = {key: idempotent.pop(key) for key in ("description", "default")}
    schema["properties"]["idempotent"] = {"anyOf": [{"type": "boolean"}, idempotent], **words}
    for table in (schema, *schema["$defs"].values()):  # a key without a value is not there
        table["properties"] = {key: _or_null(value) for key, value in table["properties"].items()}
    return schema


def schema_text() -> str:
    """Render the schema as it is shipped."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    words: dict[str, Any] = {key: schema[key] for key in ("description", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in words}
    return {"anyOf": [*(rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]), {"type": "null"}], **words}
