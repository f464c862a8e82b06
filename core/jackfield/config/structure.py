"""Plain data → the model, every fault at once: cattrs walks and collects, msgspec judges each single value."""

import copy
from collections.abc import Callable, Iterator, Mapping
from types import GenericAlias, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
import msgspec
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from jackfield.config.keys import key_of, keys
from jackfield.config.model import Document, PluginConfig, RouteConfig
from jackfield.config.problems import DIGEST_PLACEHOLDER, PLACEHOLDER, KeyPath, Problem, did_you_mean, quoted
from jackfield.config.schedules import ScheduleConfig

_EXAMPLES: Mapping[str | int, str] = {
    "issuer": 'add issuer = "https://id.example.com"',
    "audience": 'add audience = "jackfield"',
    "keys": 'add keys = "jwks.json", or an https URL',
    "name": 'add name = "…"',
    "path": 'add path = "module:Object"',
    "function": 'add function = "billing.close"',
    "cron": 'add cron = "15 3 * * *"',
    "kind": 'add kind = "remote"',
    "url": 'add url = "https://HOST:PORT"',
}
_ARRAYS: Mapping[type, str] = {PluginConfig: "plugin", ScheduleConfig: "schedule"}
_HUGE = 10**18
_MEMBERS: Mapping[str | int, str] = {"keys": DIGEST_PLACEHOLDER, "algorithms": "RS256"}
_REQUIRED: Mapping[str, Mapping[str, str]] = {
    "plugin": {"name": PLACEHOLDER, "path": PLACEHOLDER},
    "schedule": {"name": PLACEHOLDER, "function": PLACEHOLDER, "cron": PLACEHOLDER},
    "webhooks": {"function": PLACEHOLDER},
    "deliveries": {"url": PLACEHOLDER},
}
_STEPS = {PLACEHOLDER: {"call": PLACEHOLDER}}
_T = TypeVar("_T")
_CONTAINERS: tuple[Any, ...] = (tuple, Mapping, list, dict)  # the model's two, and what cattrs walks them as
_NAMES: Mapping[type, str] = {list: "an array", dict: "a table"}


class _Wrong(Exception):  # never leaves this module: becomes a Problem
    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


def structure(raw: Mapping[str, Any]) -> tuple[Document, list[Problem]]:
    """Convert a document, and go on where something is wrong.

    Args:
        raw: what `tomllib` read, of bounded nesting; it is not changed.

    Returns:
        The document, with defaults and placeholders for whatever is wrong, and everything that is wrong. Without
        problems there are no placeholders.
    """
    document, problems = structure_as(Document, raw, _repair)
    return document, [_hinted(problem, raw) for problem in problems]


def structure_as(
    model: type[_T], raw: Mapping[str, Any], repair: Callable[[dict[str, Any], Problem], None]
) -> tuple[_T, list[Problem]]:
    """Convert plain data to any model of tables and leaves, and go on where something is wrong.

    Args:
        model: an attrs class.
        raw: of bounded nesting; it is not changed.
        repair: takes out of a copy what a problem is about, so that the rest can be converted.

    Returns:
        The value, and everything that is wrong.
    """
    try:
        return _CONVERTER.structure(raw, model), []
    except BaseValidationError as error:
        problems = list(_problems(error, ()))
    repaired = copy.deepcopy(dict(raw))
    for problem in problems:
        repair(repaired, problem)
    return _CONVERTER.structure(repaired, model), problems


def _problems(error: BaseException, path: KeyPath) -> Iterator[Problem]:
    """Flatten cattrs' tree of exceptions; each level's place is in the notes of the one below."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            step = _step(inner, error.cl)
            yield from _problems(inner, path if step is None else (*path, step))
    elif isinstance(error, ForbiddenExtraKeysError):
        known = list(keys(error.cl))
        for key in sorted(error.extra_fields):
            yield Problem((*path, key), "unknown key", did_you_mean(key, known))
    elif isinstance(error, KeyError):
        yield Problem(path, "required, and missing", _EXAMPLES.get(path[-1], ""))
    elif isinstance(error, _Wrong):
        yield Problem(path, error.reason, error.fix)
    else:
        raise error


def _step(error: BaseException, cls: type) -> str | int | None:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return key_of(attrs.fields_dict(cls)[note.name])
        if isinstance(note, IterableValidationNote):
            return note.index
    return None


def _hinted(problem: Problem, raw: Mapping[str, Any]) -> Problem:
    """Recognise a dotted name without quotes, which TOML takes for tables within tables."""
    match problem.path:
        case ("routes" | "tenants" | "flows" | "webhooks" | "deliveries", str() as first, str() as second) if (
            problem.reason == "unknown key" and "mean" not in problem.fix
        ):
            return attrs.evolve(problem, fix=f"a dotted name needs quotes: {quoted(f'{first}.{second}')}")
        case ("plugin", int() as at, "functions", str() as first):
            inner = raw["plugin"][at]["functions"][first]
            if isinstance(inner, dict) and inner:
                names = " or ".join(quoted(f"{first}.{key}") for key in list(inner)[:3])
                return attrs.evolve(problem, fix=f"a dotted name needs quotes: {names}")
    return problem


def _repair(document: dict[str, Any], problem: Problem) -> None:
    """Take out what is wrong; put a placeholder where something must be."""
    holder: Any = document
    for step in problem.path[:-1]:
        holder = holder[step]
    last: Any = problem.path[-1]
    match problem.path:
        case ("plugin" | "schedule" as table, int()) | ("routes" | "tenants" | "webhooks" | "deliveries" as table, _):
            holder[last] = dict(_REQUIRED.get(table, {}))
        case (
            ("schedule", int(), "name" | "function" | "cron")
            | ("plugin", int(), "name" | "path")
            | ("plugin", int(), "functions", _)
            | ("routes", _, "tenants", _)
            | ("auth", "jwt", "issuer" | "audience" | "keys")
            | ("webhooks", _, "function")
            | ("deliveries", _, "url")
            | ("executors", _, "kind" | "url")
        ):
            holder[last] = PLACEHOLDER
        case ("routes", _, "shares", _):
            holder[last] = 0.0
        case ("executors", _):
            holder[last] = {"kind": PLACEHOLDER, "url": PLACEHOLDER}
        case ("flows", *rest) if (filled := _placeholder(*rest)) is not None:
            holder[last] = filled
        case _ if isinstance(holder, list):  # the others must keep their places
            holder[last] = _MEMBERS.get(problem.path[-2], PLACEHOLDER)
        case _:
            del holder[last]


def _placeholder(*at: str | int) -> Any:
    """Give what stands for a flow, or a part of one, that is wrong; None where it may as well be missing."""
    match at:
        case (_,) | (_, int()):
            return {"steps": _STEPS}
        case (_, "steps") | (_, int(), "steps"):
            return _STEPS
        case (*_, "steps", _):
            return _STEPS[PLACEHOLDER]
        case (*_, "steps", _, "call"):
            return PLACEHOLDER
    return None


def _parts(hint: Any) -> tuple[Any, ...]:
    """Give the members of `X | None`, or the type alone."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(part for part in get_args(hint) if part is not type(None))
    return (hint,)


def _is_table(hint: Any) -> bool:
    return isinstance(hint, type) and attrs.has(hint)


def _is_leaf(hint: Any) -> bool:
    return not any(_is_table(part) or get_origin(part) in _CONTAINERS for part in _parts(hint))


def _is_one_or_several(hint: Any) -> bool:
    """Tell a table that may also be an array of such tables."""
    parts = _parts(hint)
    return len(parts) > 1 and any(map(_is_table, parts)) and any(get_origin(part) is tuple for part in parts)


def _is_leaf_or_several(hint: Any) -> bool:
    """Tell a value that may also be an array of such values."""
    parts = _parts(hint)
    return len(parts) > 1 and any(map(_is_leaf, parts)) and any(get_origin(part) is tuple for part in parts)


def _is_container(hint: Any) -> bool:
    return get_origin(hint) in _CONTAINERS[:2]


def _expected(hint: Any) -> str:
    part = _parts(hint)[0]  # those of a union say the same
    if get_origin(part) is Annotated:
        return str(next(meta.description for meta in part.__metadata__ if isinstance(meta, msgspec.Meta)))
    if get_origin(part) is Literal:
        return " or ".join(map(repr, get_args(part)))
    return {bool: "true or false", str: "a text"}[part]


def _is_secret(part: Any) -> bool:
    """Tell whether what is written there by mistake may be a secret."""
    return any((getattr(meta, "extra", None) or {}).get("secret") for meta in getattr(part, "__metadata__", ()))


def _shown(value: object, hint: Any = None) -> str:
    """Name a value of a key that is known, and therefore no secret, unless its kind says so."""
    match value:
        case None:
            return "nothing"
        case "":
            return "an empty text"
        case str():
            return "another text" if _is_secret(hint) else f"the text {quoted(value)}"
        case bool() | float():
            return str(value).lower()
        case int():
            return str(value) if abs(value) < _HUGE else "a huge number"  # str() refuses more than some thousand digits
        case _:
            return _NAMES.get(type(value), "a date or time")


def _leaf(value: Any, hint: Any) -> Any:
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError:
        part = _parts(hint)[0]
        if get_origin(part) is Literal and isinstance(value, str):
            raise _Wrong(f"unknown value {quoted(value)}", did_you_mean(value, get_args(part))) from None
        raise _Wrong(f"expected {_expected(hint)}, got {_shown(value, part)}") from None


def _container(hint: Any) -> Callable[[Any, Any], Any]:
    is_array = get_origin(hint) is tuple
    kind: type = list if is_array else dict
    members = get_args(hint)
    of = GenericAlias(kind, members[:1] if is_array else members)
    walk = _CONVERTER.get_structure_hook(of)
    array = _ARRAYS.get(members[0])
    fix = f"write [[{array}]], with two brackets on each side" if array is not None else ""

    def convert(value: Any, _: Any) -> Any:
        if not isinstance(value, kind):
            raise _Wrong(f"expected {_NAMES[kind]}, got {_shown(value, members[0])}", fix)
        found = walk(value, of)
        return tuple(found) if is_array else found

    return convert


def _one_or_several(hint: Any) -> Callable[[Any, Any], Any]:
    table = next(part for part in _parts(hint) if _is_table(part))
    one, several = _table(table), _container(tuple[table, ...])  # type: ignore[valid-type]  # it is a class

    def convert(value: Any, _: Any) -> Any:
        return several(value, None) if isinstance(value, list) else one(value, None)

    return convert


def _leaf_or_several(hint: Any) -> Callable[[Any, Any], Any]:
    leaf = next(part for part in _parts(hint) if _is_leaf(part))
    several = _container(tuple[leaf, ...])  # type: ignore[valid-type]  # as above

    def convert(value: Any, _: Any) -> Any:
        return several(value, None) if isinstance(value, list) else _leaf(value, leaf)

    return convert


def _table(cls: type) -> Callable[[Any, Any], Any]:
    names = {field.name: override(rename=key_of(field)) for field in attrs.fields(cls) if field.metadata}
    walk: Callable[[Any, Any], Any] = make_dict_structure_fn(
        cls,
        _CONVERTER,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **names,  # type: ignore[arg-type]  # a field's name is none of its own arguments
    )

    def convert(value: Any, _: Any) -> Any:
        if cls is RouteConfig and isinstance(value, str):
            return RouteConfig(default=_leaf(value, attrs.fields(RouteConfig).default.type))
        if not isinstance(value, dict):
            raise _Wrong(f"expected a table, got {_shown(value)}")
        return walk(value, cls)

    return convert


_CONVERTER = Converter(detailed_validation=True, forbid_extra_keys=True)
_CONVERTER.register_structure_hook_func(_is_leaf, _leaf)
for _builtin in (bool, str):  # cattrs' own hooks for these would take anything, and come before a predicate
    _CONVERTER.register_structure_hook(_builtin, _leaf)
_CONVERTER.register_structure_hook_factory(_is_container, _container)
_CONVERTER.register_structure_hook_factory(_is_table, _table)
_CONVERTER.register_structure_hook_factory(_is_one_or_several, _one_or_several)
_CONVERTER.register_structure_hook_factory(_is_leaf_or_several, _leaf_or_several)
