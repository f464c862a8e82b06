"""The functions of a host as an OpenAPI 3.1 document, for people, and for programs that make clients and tests."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

from jackfield import SubmissionState
from jackfield.contract.payload import payload_schema, result_schema
from jackfield.errors import OUTCOMES, Outcome
from jackfield.model.deadline import LONGEST
from jackfield.model.spec import FunctionSpec
from jackfield_contrib.http import problems
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.exchange import EVENTS, JSON, MESSAGEPACK
from jackfield_contrib.http.schemas import Components

_TEXT: Final = {"type": "string"}
_FIELDS: Final[Mapping[Outcome, Mapping[str, Any]]] = {
    Outcome.REJECTED: {"code": _TEXT, "details": {}},
    Outcome.INVALID_PAYLOAD: {"path": _TEXT, "expected": _TEXT, "got": _TEXT},
    Outcome.UNAVAILABLE: {"cause": _TEXT, "ran": {"type": ["boolean", "null"]}},
    Outcome.RESOURCE_EXHAUSTED: {"retry_after": {"type": ["number", "null"], "description": "Seconds."}},
}
"""What the document of an outcome has besides what all have."""

_REFUSALS: Final = {
    400: "The request cannot be read.",
    401: "It names no tenant that is known.",
    404: "There is no such call.",
    408: "The body has not come in time.",
    413: "The body, or the batch, is too large.",
    415: "The body is of another type.",
    431: "The headers are too many, or too large.",
}
"""What never became a call: it has no outcome."""

_RETRY: Final = {"Retry-After": {"description": "Seconds after which it may work.", "schema": {"type": "integer"}}}
_PARAMETERS: Final = {
    "Timeout": {
        "name": "X-Timeout",
        "in": "header",
        "description": "Seconds that the call may take; the function's own limit applies as well.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST},
    },
    "Traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "The span that this is part of (W3C Trace Context); `baggage` and `tracestate` go with it.",
        "schema": _TEXT,
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key is the same call.",
        "schema": _TEXT,
    },
    "Identifier": {"name": "id", "in": "path", "required": True, "schema": _TEXT},
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=SECONDS`: so long the answer waits at most for the end of the call (RFC 7240).",
        "schema": _TEXT,
    },
}
_STATUS: Final = {"type": "string", "enum": [state.value for state in SubmissionState]}
_LIMIT: Final = {"type": "integer", "minimum": 0, "maximum": 10_000, "default": 1_000}
_EVENTS: Final = {
    "type": "string",
    "description": (
        "Server-sent events: any number of `progress` (`function`, `done`, `total`, `text`) and, of a flow, `step` "
        "(`flow`, `step`, `state`, `items`, `failed`, `seconds`); then one `result`, whose data is the result, or "
        "`problem`, whose data is a problem document."
    ),
    "examples": [
        'event: progress\ndata: {"function":"f","done":1,"total":null,"text":""}\n\nevent: result\ndata: 7\n\n',
    ],
}
_KEY: Final = {"type": "http", "scheme": "bearer", "description": "The key of a tenant, or a token that names it."}
_CERTIFICATE: Final = {"type": "mutualTLS", "description": "A certificate whose subject is known to be a tenant's."}

Versions = Mapping[str, FunctionSpec]
"""Version → contract, the default first."""

Knows = Literal["keys", "keys and certificates"]
"""What tells tenants apart."""


def document(
    functions: Iterable[tuple[str, Versions]], revision: int, bounds: Bounds, *, knows: Knows | None, picks: bool
) -> dict[str, Any]:
    """Write the document.

    Args:
        functions: the name and versions of each that is told of.
        revision: of what is described.
        bounds: of requests.
        knows: how requests say whose they are, if those of nobody are refused.
        picks: whether whoever reads it may pick versions.
    """
    components = Components({**_problem_schemas(), **_schemas(bounds), "Events": _EVENTS})
    paths: dict[str, Any] = {}
    for name, versions in functions:
        paths[f"/v1/functions/{name}"] = {"post": _called(name, versions, components, picks=picks)}
    tags = sorted({path["post"]["tags"][0] for path in paths.values()})
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Functions",
            "version": str(revision),
            "description": "Each function has a path of its own. How a call ends otherwise is a problem document.",
        },
        "servers": [{"url": "."}],  # where this document is, whatever is in front of it
        "tags": [{"name": name} for name in dict.fromkeys([*tags, "calls", "about"])],
        "paths": {**paths, **_general()},
        "components": {
            "schemas": components.schemas,
            "responses": dict(_responses()),
            "parameters": _PARAMETERS,
        },
    }
    if knows is not None:
        schemes = {"key": _KEY} if knows == "keys" else {"key": _KEY, "certificate": _CERTIFICATE}
        made["components"]["securitySchemes"] = schemes
        made["security"] = [{name: []} for name in schemes]
    return made


# --- One function -----------------------------------------------------------------------------------------------------


def _called(name: str, versions: Versions, components: Components, *, picks: bool) -> dict[str, Any]:
    specs = list(versions.values())
    parameters = [_parameter("Timeout"), _parameter("Traceparent")]
    if picks:
        parameters.append(_version(versions))
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [specs[0].plugin or "host"],
        "parameters": parameters,
        "requestBody": _body(_either(map(payload_schema, specs), versions, components)),
        "responses": {
            "200": {
                "description": "The result.",
                "content": {
                    JSON: {"schema": _either(map(result_schema, specs), versions, components)},
                    MESSAGEPACK: {},
                    EVENTS: {"schema": _schema("Events")},
                },
            },
            **_refused(*OUTCOMES, 408, 413, 415, 431),
        },
    }
    if specs[0].summary:
        operation["summary"] = specs[0].summary
    if len(versions) > 1:
        first, *others = versions
        operation["description"] = f"Versions: {first} (by default), {', '.join(others)}."
    return operation


def _version(versions: Versions) -> dict[str, Any]:
    return {
        "name": "x-version",
        "in": "header",
        "description": "A version other than the one that would be chosen.",
        "schema": {"type": "string", "enum": list(versions)},
    }


def _either(schemas: Iterable[Any], versions: Versions, components: Components) -> Any:
    """Give the schema of all versions, or of any of them where they differ."""
    found = [components.add(schema) for schema in schemas]
    if all(each == found[0] for each in found[1:]):
        return found[0]
    return {
        "anyOf": [{"title": f"version {name}", "allOf": [each]} for name, each in zip(versions, found, strict=True)]
    }


# --- What is not of one function --------------------------------------------------------------------------------------


def _general() -> dict[str, Any]:
    submission = {"description": "Where it is.", "content": _content(_schema("Submission"))}
    name = {"name": "name", "in": "path", "required": True, "schema": _TEXT}
    entry = {"anyOf": [{"type": "object", "required": ["result"], "properties": {"result": {}}}, _schema("Problem")]}
    known = _refused(Outcome.NOT_FOUND, Outcome.UNAVAILABLE, Outcome.CRASHED)
    return {
        "/v1/calls:batch": {
            "post": {
                "operationId": "calls:batch",
                "tags": ["calls"],
                "summary": "Make several calls, each by itself",
                "parameters": [_parameter("Timeout"), _parameter("Traceparent")],
                "requestBody": {"required": True, **_body(_schema("Batch"))},
                "responses": {
                    "200": {
                        "description": "The result or the problem of each, in the order of the calls.",
                        "content": _content({"type": "array", "items": entry}),
                    },
                    **_refused(400, 408, 413, 415, 431),
                },
            }
        },
        "/v1/submit/{name}": {
            "post": {
                "operationId": "calls:submit",
                "tags": ["calls"],
                "summary": "Have a call made later, and kept until then",
                "parameters": [name, *map(_parameter, ("IdempotencyKey", "Timeout", "Traceparent"))],
                "requestBody": _body({"description": "The payload of the function."}),
                "responses": {
                    "202": {
                        **submission,
                        "headers": {"Location": {"description": "Where to ask for it.", "schema": _TEXT}},
                    },
                    **_refused(*OUTCOMES, 408, 413, 415, 431),
                },
            }
        },
        "/v1/calls": {
            "get": {
                "operationId": "calls:list",
                "tags": ["calls"],
                "summary": "List the submitted calls that are kept",
                "parameters": [_query("function", _TEXT), _query("status", _STATUS), _query("limit", _LIMIT)],
                "responses": {
                    "200": {
                        "description": "Some of them, in no order.",
                        "content": _content({"type": "array", "items": {"type": "object"}}),
                    },
                    **_refused(400, Outcome.UNAVAILABLE, Outcome.CRASHED),
                },
            }
        },
        "/v1/calls/{id}": {
            "parameters": [_parameter("Identifier")],
            "get": {
                "operationId": "calls:get",
                "tags": ["calls"],
                "summary": "Look where a submitted call is, and how it has ended",
                "parameters": [_parameter("Prefer")],
                "responses": {"200": submission, **known},
            },
            "delete": {
                "operationId": "calls:cancel",
                "tags": ["calls"],
                "summary": "Cancel a submitted call, unless it has ended",
                "responses": {"200": submission, **known},
            },
        },
        "/v1/functions": {
            "get": {
                "operationId": "functions:list",
                "tags": ["about"],
                "summary": "List the functions",
                "responses": {
                    "200": {
                        "description": "All that may be called.",
                        "content": _content({"type": "array", "items": _schema("Row")}),
                    },
                    **_refused(),
                },
            }
        },
        "/v1/functions/{name}": {
            "get": {
                "operationId": "functions:get",
                "tags": ["about"],
                "summary": "Describe a function, with its schemas",
                "parameters": [name],
                "responses": {
                    "200": {"description": "What is known of it.", "content": _content(_schema("Function"))},
                    **_refused(Outcome.NOT_FOUND),
                },
            }
        },
    }


def _schemas(bounds: Bounds) -> dict[str, Any]:
    row = dict.fromkeys(("name", "version", "plugin", "about"), _TEXT)
    call = {
        "function": _TEXT,
        "payload": {},
        "version": {"type": ["string", "null"]},
        "timeout": {"type": ["number", "null"], "description": "Seconds."},
    }
    submission = {
        "id": _TEXT,
        "function": _TEXT,
        "status": _STATUS,
        "cancelled": {"type": "boolean", "description": "Whether it was this that has cancelled it."},
        "result": {},
        "problem": _schema("Problem"),
    }
    return {
        "Row": _object(row, *row),
        "Function": _object({**row, "payload_schema": {}, "result_schema": {}}, *row),
        "Batch": {
            "type": "array",
            "maxItems": bounds.batch,
            "items": {**_object(call, "function"), "additionalProperties": False},
        },
        "Submission": _object(submission, "id", "function", "status"),
    }


# --- How it ends otherwise --------------------------------------------------------------------------------------------


def _problem_schemas() -> dict[str, Any]:
    """Describe the problem documents: what all have, and what those of each outcome have."""
    outcomes = [outcome for outcome in Outcome if outcome is not Outcome.OK]
    base = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "outcome": {"enum": [outcome.value for outcome in outcomes]},
    }
    refusal = {**base, "type": {"const": "about:blank"}}
    del refusal["outcome"]
    made = {"Problem": _object(base, "type", "title", "status"), "Refusal": _object(refusal, *refusal)}
    for outcome in outcomes:
        own = {
            "type": {"const": problems.TYPE + outcome.value},
            "title": {"const": problems.TITLES[outcome]},
            "status": {"const": OUTCOMES[outcome].http},
            "outcome": {"const": outcome.value},
        }
        fields = _object({**own, **_FIELDS.get(outcome, {})}, "outcome")
        made[f"Problem.{outcome.value}"] = {"allOf": [_schema("Problem"), fields]}
    return made


def _responses() -> Iterable[tuple[str, Any]]:
    for status in sorted({*_REFUSALS, *(row.http for row in OUTCOMES.values())} - {200}):
        outcomes = [outcome for outcome, row in OUTCOMES.items() if row.http == status]
        said = [f"`{outcome.value}`: {problems.TITLES[outcome]}." for outcome in outcomes]
        schemas = [_schema(f"Problem.{outcome.value}") for outcome in outcomes]
        if status in _REFUSALS:
            said.append(_REFUSALS[status])
            refused = {"title": {"const": HTTPStatus(status).phrase}, "status": {"const": status}}
            schemas.append({"allOf": [_schema("Refusal"), {"properties": refused}]})
        response: dict[str, Any] = {
            "description": " ".join(said),
            "content": {problems.CONTENT_TYPE: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}},
        }
        if Outcome.RESOURCE_EXHAUSTED in outcomes:
            response["headers"] = _RETRY
        yield f"Problem{status}", response


def _refused(*ends: Outcome | int) -> dict[str, Any]:
    """Refer to how a request may end otherwise: always by nobody having asked, or nobody who may."""
    statuses = {401, OUTCOMES[Outcome.PERMISSION_DENIED].http}
    statuses |= {OUTCOMES[end].http if isinstance(end, Outcome) else end for end in ends if end is not Outcome.OK}
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(statuses)}


def _body(schema: Any) -> dict[str, Any]:
    return {"content": _content(schema)}


def _content(schema: Any) -> dict[str, Any]:
    return {JSON: {"schema": schema}, MESSAGEPACK: {}}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/parameters/{name}"}


def _query(name: str, schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}
