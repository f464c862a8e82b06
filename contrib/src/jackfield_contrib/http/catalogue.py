"""What can be called: a list for people and programs, and OpenAPI 3.1 for what generates clients."""

from collections.abc import Mapping
from typing import Any, Final

from jackfield import Host
from jackfield.contract.payload import payload_schema, result_schema
from jackfield.errors import OUTCOMES, FunctionNotFound, Outcome
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec
from jackfield_contrib.contracts import contract_of
from jackfield_contrib.http import problems

_KEPT: Final = 64  # documents of tenants
_REF: Final = "#/$defs/"
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "outcome": {"enum": [outcome.value for outcome in Outcome if outcome is not Outcome.OK]},
        "code": {"type": "string"},
        "details": {"type": "object"},
    },
}
_TIMEOUT: Final = {
    "name": "X-Timeout",
    "in": "header",
    "description": "Seconds that the call may take.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_VERSION: Final = {
    "name": "x-version",
    "in": "header",
    "description": "A version other than the one that would be chosen.",
    "schema": {"type": "string"},
}


class Catalogue:
    """Describes the functions of a host; OpenAPI is written anew only when something has changed.

    Args:
        host: whose.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._kept: dict[str | None, tuple[Snapshot, Mapping[str, Any]]] = {}

    def functions(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """List the functions that a tenant may call, by name."""
        return [self._row(name) for name in self._names(tenant)]

    def _names(self, tenant: str | None) -> list[str]:
        snapshot = self._host.snapshot
        return [name for name in sorted(snapshot.functions) if not snapshot.permissions.denial(name, tenant, False)]  # noqa: FBT003  # picks no version

    def function(self, name: str, tenant: str | None = None) -> dict[str, Any]:
        """Describe one function, with its schemas.

        Raises:
            FunctionNotFound: if there is none of that name that the tenant may call.
        """
        if self._host.snapshot.permissions.denial(name, tenant, False):  # noqa: FBT003  # as above
            raise FunctionNotFound(name)
        return {**self._row(name), **contract_of(self._host.describe(name))}

    def _row(self, name: str) -> dict[str, Any]:
        spec = self._host.describe(name)
        return {"name": name, "version": spec.version, "plugin": spec.plugin, "about": spec.summary}

    def openapi(self, tenant: str | None = None) -> Mapping[str, Any]:
        """Give the OpenAPI 3.1 document of the functions that a tenant may call, one path each."""
        snapshot = self._host.snapshot
        kept = self._kept.get(tenant)
        if kept is None or (kept[0].revision, kept[0].permissions) != (snapshot.revision, snapshot.permissions):
            if len(self._kept) >= _KEPT:
                self._kept = {}
            kept = self._kept[tenant] = snapshot, self._document(tenant)
        return kept[1]

    def _document(self, tenant: str | None) -> dict[str, Any]:
        schemas: dict[str, Any] = {"Problem": _PROBLEM}
        paths = {}
        for name in self._names(tenant):
            try:
                spec = self._host.describe(name)
            except FunctionNotFound:  # it went meanwhile
                continue
            paths[f"/v1/functions/{name}"] = {"post": _operation(spec, schemas)}
        return {
            "openapi": "3.1.0",
            "info": {"title": "Functions", "version": str(self._host.snapshot.revision)},
            "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
            "paths": paths,
            "components": {"schemas": schemas},
        }


def _operation(spec: FunctionSpec, schemas: dict[str, Any]) -> dict[str, Any]:
    payload, result = (_shared(schema, f"{spec.name}.", schemas) for schema in _schemas(spec))
    operation: dict[str, Any] = {
        "operationId": spec.name,
        "tags": [spec.plugin or "host"],
        "parameters": [_TIMEOUT, _VERSION],
        "requestBody": {"content": {"application/json": {"schema": payload}}},
        "responses": {
            "200": {"description": "The result.", "content": {"application/json": {"schema": result}}},
            **{
                str(OUTCOMES[outcome].http): {
                    "description": outcome.value,
                    "content": {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
                for outcome in Outcome
                if outcome not in {Outcome.OK, Outcome.CANCELLED}
            },
        },
    }
    if spec.summary:
        operation["summary"] = spec.summary
    return operation


def _shared(schema: Any, prefix: str, schemas: dict[str, Any]) -> Any:
    """Move a schema's definitions to where OpenAPI has them."""
    if isinstance(schema, dict):
        for name, definition in schema.get("$defs", {}).items():
            schemas[_component(prefix, name)] = _shared(definition, prefix, schemas)
        moved = {key: _shared(value, prefix, schemas) for key, value in schema.items() if key != "$defs"}
        reference = moved.get("$ref")
        if isinstance(reference, str) and reference.startswith(_REF):
            moved["$ref"] = "#/components/schemas/" + _component(prefix, reference.removeprefix(_REF))
        return moved
    if isinstance(schema, list):
        return [_shared(each, prefix, schemas) for each in schema]
    return schema


def _component(prefix: str, name: str) -> str:
    """Name a component: OpenAPI takes letters, digits, dots, hyphens and underscores."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "_" for sign in prefix + name)


def _schemas(spec: FunctionSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    return payload_schema(spec), result_schema(spec)
