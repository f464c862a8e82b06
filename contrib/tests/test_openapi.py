"""The OpenAPI document: whole, valid whatever functions there are, and of the reader's functions alone."""

import dataclasses
import enum
import re
from typing import Any, Literal, NamedTuple, TypedDict

import attrs
import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from jackfield import Host, to_json
from jackfield.errors import OUTCOMES, Outcome
from jackfield_contrib.http import problems
from jackfield_contrib.http.bounds import Bounds
from jackfield_contrib.http.catalogue import Catalogue
from jackfield_contrib.http.problems import Refused
from jackfield_contrib.http.schemas import Components


class Kind(enum.Enum):
    SMALL = "small"
    LARGE = 2


@attrs.frozen
class Loan:
    amount: int
    months: int = 12


@dataclasses.dataclass
class Tree:
    """Refers to itself."""

    value: int
    below: "list[Tree]" = dataclasses.field(default_factory=list)


Size = msgspec.defstruct("Größe", [("breite", float), ("höhe", float)], tag=True)


class Point(NamedTuple):
    x: int
    y: int = 0


class Options(TypedDict, total=False):
    color: Literal["red", "green"]
    deep: dict[str, Loan]


def other_loan():
    """Make another class of that name, with other fields."""

    @attrs.frozen
    class Loan:
        sum: str

    Loan.__qualname__ = "Loan"
    return Loan


def document_of(*functions, versions=()):
    with Host(observers=()) as host:
        for name, target in functions:
            host.register(name, target)
        for name, target, version in versions:
            host.register(name, target, version=version)
        return msgspec.json.decode(msgspec.json.encode(Catalogue(host, Bounds()).openapi()))


def check(document):
    """Look whether it is valid, and refers to nothing that is not there."""
    OpenAPIV31SpecValidator(document).validate()
    for reference in references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        jsonschema.Draft202012Validator.check_schema(schema)


def references(node):
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key == "$ref" and isinstance(value, str):
            yield value
        else:
            yield from references(value)


def called_in(document):
    found = {path.removeprefix("/v1/functions/") for path, item in document["paths"].items() if "post" in item}
    return {name for name in found if "/" not in name}


def function_of(payload, result):
    def f(x): ...

    f.__annotations__ = {"x": payload, "return": result}
    return f


def posted(document, name):
    return document["paths"][f"/v1/functions/{name}"]["post"]


# --- What it says -----------------------------------------------------------------------------------------------------


def test_a_function_is_described_whole():
    """Its payload and result, how it can be watched, and how it can end otherwise."""

    def score(loan: Loan) -> float:
        """Score a loan."""

    document = document_of(("risk.score", score))
    check(document)
    operation = posted(document, "risk.score")
    assert (operation["operationId"], operation["summary"]) == ("risk.score", "Score a loan.")
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Loan"}
    ok = operation["responses"]["200"]["content"]
    assert ok["application/json"]["schema"] == {"type": "number"}
    assert set(ok) == {"application/json", "application/msgpack", "text/event-stream"}
    assert {int(status) for status in operation["responses"]} == {
        *(row.http for row in OUTCOMES.values()), 401, 408, 413, 415, 431,
    }  # fmt: skip


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_every_outcome_has_its_document(outcome):
    """Found by its status."""
    document = document_of()
    schema = {"$ref": f"#/components/schemas/Problem.{outcome.value}"}
    response = document["components"]["responses"][f"Problem{OUTCOMES[outcome].http}"]
    said = response["content"]["application/problem+json"]["schema"]
    assert schema in [said, *said.get("anyOf", [])]
    assert f"`{outcome.value}`" in response["description"]
    assert ("Retry-After" in response.get("headers", {})) == (outcome is Outcome.RESOURCE_EXHAUSTED)


def test_what_never_became_a_call_has_a_document_of_its_own():
    """One without an outcome, and what is answered is that."""
    document = document_of(("f", function_of(int, int)))
    made = document["components"]["responses"]["Problem415"]["content"]["application/problem+json"]["schema"]
    told = problems.of_request(Refused(415, "a body is JSON")).document
    validator = jsonschema.Draft202012Validator({**made, "components": document["components"]})
    validator.validate(told)
    for wrong in ({**told, "status": 400}, {**told, "type": "urn:jackfield:outcome:rejected"}):
        assert not validator.is_valid(wrong)
    assert "outcome" not in document["components"]["schemas"]["Refusal"]["properties"]
    assert "description" not in posted(document, "f")  # it would be the summary again


def test_what_is_not_of_one_function_is_there():
    """Batches, submitted calls, and the list."""
    document = document_of()
    assert sorted(document["paths"]) == [
        "/v1/calls", "/v1/calls/{id}", "/v1/calls:batch", "/v1/functions", "/v1/functions/{name}", "/v1/submit/{name}",
    ]  # fmt: skip
    assert document["servers"] == [{"url": "."}]
    assert "security" not in document
    check(document)


def test_versions_that_differ_are_told_apart():
    """Any of their payloads is taken; which version is meant a header says."""

    def one(x: int) -> int: ...

    def two(x: str) -> int: ...

    document = document_of(versions=[("f", one, "1.0"), ("f", two, "2.0")])
    check(document)
    operation = posted(document, "f")
    assert "1.0 (by default), 2.0" in operation["description"]
    versions = next(each["schema"] for each in operation["parameters"] if each.get("name") == "x-version")
    assert versions == {"type": "string", "enum": ["1.0", "2.0"]}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert [each["title"] for each in schema["anyOf"]] == ["version 1.0", "version 2.0"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == {"type": "integer"}


def test_a_type_is_described_once_and_its_namesake_beside_it():
    """Wherever it is used."""
    other = other_loan()
    document = document_of(
        ("a", function_of(Loan, list[Loan])), ("b", function_of(Loan, other)), ("c", function_of(Tree, Size))
    )
    check(document)
    schemas = document["components"]["schemas"]
    assert schemas["Tree"]["properties"]["below"]["items"] == {"$ref": "#/components/schemas/Tree"}
    loans = [name for name in schemas if "Loan" in name]
    assert len(loans) == 2
    assert any("Gr" in name for name in schemas)


def test_a_type_named_as_one_of_ours_is_not_taken_for_it():
    """The problem documents stay what they are."""
    problem = attrs.make_class("Problem", {"mine": attrs.field(type=int)})
    document = document_of(("f", function_of(problem, None)))
    check(document)
    schema = posted(document, "f")["requestBody"]["content"]["application/json"]["schema"]
    assert document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["required"] == ["mine"]
    assert "status" in document["components"]["schemas"]["Problem"]["properties"]


@pytest.mark.parametrize("subjects", [[], ["CN=t"]])
def test_once_there_are_tenants_it_says_how_to_show_who_one_is(tmp_path, subjects):
    """And offers versions to those who may pick them."""
    file = tmp_path / "jackfield.toml"
    certificates = ["key", "certificate"] if subjects else ["key"]
    known = f"subjects = {subjects}\n"
    file.write_text(f'[tenants.t]\n{known}[tenants.u]\nversions = true\npermissions = ["f"]\n')
    with Host.from_config(file, observers=()) as host:
        for name in ("f", "g"):
            host.register(name, function_of(int, int))
        catalogue = Catalogue(host, Bounds())
        for tenant, picks, functions in [("t", False, {"f", "g"}), ("u", True, {"f"})]:
            document = msgspec.json.decode(msgspec.json.encode(catalogue.openapi(tenant)))
            check(document)
            assert document["security"] == [{name: []} for name in certificates]
            assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
            given = [each.get("name") for each in posted(document, "f")["parameters"]]
            assert ("x-version" in given) == picks
            assert called_in(document) == functions


# --- Whatever there is ------------------------------------------------------------------------------------------------

LEAVES = [int, str, float, bool, bytes, None, Any, Kind, Loan, Tree, Size, Point, Options, Literal["a", 1], object]
ANNOTATIONS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        inner.map(lambda item: list[item]),
        inner.map(lambda item: dict[str, item]),
        st.tuples(inner, inner).map(lambda pair: tuple[pair]),
        inner.filter(lambda item: item is not None).map(lambda item: item | None if isinstance(item, type) else item),
    ),
    max_leaves=6,
)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,8}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,8}){0,2}", fullmatch=True)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.dictionaries(NAMES, st.tuples(ANNOTATIONS, ANNOTATIONS), max_size=4))
def test_whatever_functions_there_are_the_document_is_valid(functions):
    """For any contracts, under any names."""
    check(document_of(*((name, function_of(*types)) for name, types in functions.items())))


WORDS = st.sampled_from(
    [
        "$ref", "$defs", "$id", "$schema", "$anchor", "$dynamicRef", "type", "properties", "items", "anyOf", "enum",
        "const", "default", "required", "pattern", "minimum", "multipleOf", "maxLength", "not", "title",
        "discriminator", "additionalProperties", "prefixItems", "unknown", "A", "",
    ]
)  # fmt: skip
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["#/$defs/A", "#", "http://x/y", "object", "integer", "("]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.lists(st.dictionaries(WORDS, PLAIN, max_size=5), max_size=3))
def test_a_schema_of_a_stranger_spoils_no_document(schemas):
    """What is none is left out."""
    components = Components({})
    moved = [msgspec.json.decode(msgspec.json.encode(components.add(schema))) for schema in schemas]
    known = msgspec.json.decode(msgspec.json.encode(components.schemas))
    for schema in [*moved, *known.values()]:
        jsonschema.Draft202012Validator.check_schema(schema)
        document = {"components": {"schemas": known}}
        for reference in schema_references(schema):
            node = document
            for step in reference.removeprefix("#/").split("/"):
                node = node[step]


def schema_references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for key, value in node.items():
            if key not in {"const", "default", "enum", "examples", "$ref"}:
                yield from schema_references(value)
    elif isinstance(node, list):
        for each in node:
            yield from schema_references(each)


@pytest.mark.parametrize("where", ["items", "default"])
@pytest.mark.parametrize("depth", [150, 500, 900])
def test_a_schema_that_is_deep_is_followed_so_far(where, depth):
    """And what is written of it can be."""
    deep = {}
    for _ in range(depth):
        deep = {"items": deep}
    components = Components({})
    made = components.add({"$ref": "#/$defs/A", "$defs": {"A": {where: deep}}, where: deep})
    to_json({"paths": {"/": {"post": {"content": [made]}}}, "schemas": components.schemas})
