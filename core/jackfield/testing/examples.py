"""Payloads made up from a JSON Schema, for those who have hypothesis."""

from collections.abc import Mapping
from typing import Any, Final

_REF: Final = "#/$defs/"
_DEPTH: Final = 4  # of recursive schemas


def generated(schema: Mapping[str, Any], number: int) -> list[Any]:
    """Make up payloads: the same ones at each call.

    Args:
        schema: what they fit, as `contract.payload` writes it; what it says of patterns and bounds is kept as far as it
            is simple, and what does not fit after all is refused in both places.
        number: how many at most.

    Returns:
        Plain data; one None for a schema that takes nothing else, and nothing without hypothesis.
    """
    if number <= 0:
        return []
    if schema.get("maxProperties") == 0:
        return [None]
    try:
        from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415  # not everybody has it
    except ImportError:
        return []
    found: list[Any] = []

    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
    )
    @given(_strategy(schema, schema, 0))
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found[:number]


def _strategy(node: Any, root: Mapping[str, Any], depth: int) -> Any:  # noqa: C901, PLR0911, PLR0912  # one for each kind
    from hypothesis import strategies as st  # noqa: PLC0415  # as above

    if node is True or node == {} or depth > 2 * _DEPTH:
        return st.none() if depth > _DEPTH else st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))
    if "$ref" in node:
        target = root.get("$defs", {}).get(node["$ref"].removeprefix(_REF), {})
        return st.deferred(lambda: _strategy(target, root, depth + 1))
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "const" in node:
        return st.just(node["const"])
    if len(node.get("allOf", ())) == 1:
        return _strategy(node["allOf"][0], root, depth)
    if members := node.get("anyOf") or node.get("oneOf"):
        plain = [each for each in members if each.get("type") in _SIMPLE] if depth > _DEPTH else []
        return st.one_of([_strategy(each, root, depth) for each in plain or members])
    if isinstance(kinds := node.get("type"), list):
        return st.one_of([_strategy({**node, "type": kind}, root, depth) for kind in kinds])
    least, most = node.get("minimum"), node.get("maximum")
    match kinds:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(_whole(least, -(2**31)), _whole(most, 2**31))
        case "number":
            return st.floats(least, most, allow_nan=False, allow_infinity=False)
        case "string":
            return _text(node)
        case "array":
            few = 0 if depth > _DEPTH else 3
            if rows := node.get("prefixItems"):
                return st.tuples(*(_strategy(each, root, depth + 1) for each in rows)).map(list)
            low = node.get("minItems", 0)
            item = _strategy(node.get("items", {}), root, depth + 1)
            return st.lists(item, min_size=low, max_size=min(max(low, few), node.get("maxItems", 3)))
        case "object":
            return _object(node, root, depth)
    return st.none()


_SIMPLE: Final = frozenset({"null", "boolean", "integer", "number", "string"})


def _whole(bound: Any, otherwise: int) -> int:
    return otherwise if bound is None else int(bound)


def _text(node: Mapping[str, Any]) -> Any:
    from hypothesis import strategies as st  # noqa: PLC0415  # as above

    if "contentEncoding" in node:
        import base64  # noqa: PLC0415  # as above

        return st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode())
    known = {
        "date": st.dates().map(str),
        "date-time": st.datetimes().map(lambda at: at.isoformat()),
        "time": st.times().map(str),
        "uuid": st.uuids().map(str),
        "duration": st.integers(0, 10**6).map(lambda seconds: f"PT{seconds}S"),
        "decimal": st.decimals(-(10**9), 10**9, places=2).map(str),
    }
    if (made := known.get(node.get("format", ""))) is not None:
        return made
    if "pattern" in node:
        return st.from_regex(node["pattern"])
    low = node.get("minLength", 0)
    return st.text(st.characters(codec="utf-8"), min_size=low, max_size=max(low, node.get("maxLength", 20)))


def _object(node: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    from hypothesis import strategies as st  # noqa: PLC0415  # as above

    fields = node.get("properties", {})
    if not fields and (rest := node.get("additionalProperties", True)) is not False:
        return st.dictionaries(
            st.text(max_size=5), _strategy(rest, root, depth + 1), max_size=0 if depth > _DEPTH else 3
        )
    required = {*node.get("required", ())}
    made = {name: _strategy(each, root, depth + 1) for name, each in fields.items()}
    return st.fixed_dictionaries(
        {name: each for name, each in made.items() if name in required},
        optional={name: each for name, each in made.items() if name not in required and depth <= _DEPTH},
    )
