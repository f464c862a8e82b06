"""The JSON Schema that is shipped for editors."""

import json
from importlib.resources import files

from jackfield.config import json_schema
from jackfield.config.schema import schema_text


def test_the_shipped_schema_is_the_models():
    """After a change of the model, write `jackfield.config.schema.schema_text()` to the file beside that module."""
    shipped = files("jackfield.config").joinpath("jackfield.schema.json").read_text(encoding="utf-8")
    assert shipped == schema_text()


def _schemas(value):
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _schemas(item)
    elif isinstance(value, list):
        for item in value:
            yield from _schemas(item)


def test_every_table_is_closed_and_every_key_described():
    """An editor can complete and explain each key, and marks unknown ones."""
    schema = json_schema()
    for table in (schema, *schema["$defs"].values()):
        assert table["additionalProperties"] is False
        assert table["description"]
        assert all(key["description"] for key in table["properties"].values())


def test_the_schema_is_one_of_draft_2020_12_without_nulls_or_dangling_references():
    """TOML has no null, so no key allows one."""
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema
    for part in _schemas(schema):
        assert part.get("type") != "null"
        if isinstance(reference := part.get("$ref"), str):
            assert reference.removeprefix("#/$defs/") in schema["$defs"]


def test_a_plugin_needs_a_name_and_a_path_and_a_route_may_be_a_text():
    """The two things that are required, and the one short form."""
    schema = json_schema()
    assert schema["$defs"]["PluginConfig"]["required"] == ["name", "path"]
    assert "required" not in schema
    assert {"type": "string", "minLength": 1} in schema["properties"]["routes"]["additionalProperties"]["anyOf"]
    assert schema["$defs"]["PluginConfig"]["properties"]["restart"]["enum"] == ["always", "never", "on-failure"]
