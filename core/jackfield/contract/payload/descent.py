"""Taking values in piece by piece: what msgspec does not know, and what is wrong with a value that it refused."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jackfield.contract.payload.leaves import converting, delegated, foreign, hold, json_scalar
from jackfield.contract.payload.limits import is_mapping
from jackfield.contract.payload.misfit import Misfit, key_step, refused, stranger, type_name, under
from jackfield.contract.payload.nodes import SIZED, Plan
from jackfield.contract.payload.tables import table_maker
from jackfield.contract.shapes import (
    SCALARS,
    Array,
    Checked,
    Choice,
    Delegated,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    identity,
    render,
)

_PLAIN: Final = (dict, list, tuple)


def descending(plan: Plan) -> Callable[[Any], Any]:  # noqa: C901, PLR0911  # one for each shape
    """Compile the way through a value along the shape of its type; what is inside is taken in by the children."""
    match plan.view:
        case Leaf():
            return converting(plan)
        case Foreign():
            return foreign(plan)
        case Delegated() as shape:
            return delegated(shape)
        case Checked() as shape:
            return _checked(plan, shape)
        case Array() as shape:
            return _array(plan, shape)
        case Fixed() as shape:
            return _fixed(plan, shape)
        case Table() as shape:
            return _table(plan, shape)
        case Choice():
            return _choice(plan)
        case Record(kind="struct") as shape:
            return _struct(plan, shape) if shape.note is None else converting(plan)
        case Record() as shape:
            return _record(plan, shape)
        case _:
            return _anything


def _anything(value: Any) -> Any:
    return value


def _checked(plan: Plan, shape: Checked) -> Callable[[Any], Any]:
    (inner,) = plan.children

    def descend(value: Any) -> Any:
        taken = inner.take(value)
        for constraint in shape.constraints:
            taken = hold(constraint, taken, shape.type)
        return taken

    return descend


def _array(plan: Plan, shape: Array) -> Callable[[Any], Any]:
    (item,) = plan.children

    def descend(value: Any) -> Any:
        listed = isinstance(value, list | tuple | set | frozenset)
        if not listed:
            if isinstance(value, SIZED) or is_mapping(value) or not isinstance(value, shape.kind):
                raise Misfit("", render(plan.annotation), type_name(value))
            if isinstance(value, Iterator):  # reading it here would use it up: what it gives is not looked at
                return value
        items = [under(f"[{index}]", item.take, one) for index, one in enumerate(value)]
        if shape.make is deque:
            return deque(items, value.maxlen if isinstance(value, deque) else None)
        try:
            return items if shape.make is list else shape.make(items)
        except TypeError as error:
            raise Misfit("", f"{render(plan.annotation)} of hashable values", "an unhashable one") from error

    return descend


def _fixed(plan: Plan, shape: Fixed) -> Callable[[Any], Any]:
    first, last = len(shape.items), len(shape.tail)
    children = plan.children

    def descend(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise Misfit("", render(plan.annotation), type_name(value))
        between = len(value) - first - last
        if between < 0 or (between and shape.rest is None):
            wanted = f"{first}" if shape.rest is None else f"at least {first + last}"
            raise Misfit("", f"{wanted} values", f"{len(value)} values")
        row = (*children[:first], *children[-1:] * between, *children[first : first + last])
        pairs = enumerate(zip(row, value, strict=True))
        return tuple(under(f"[{index}]", child.take, one) for index, (child, one) in pairs)

    return descend


def _table(plan: Plan, shape: Table) -> Callable[[Any], Any]:
    keys, values = plan.children
    make = table_maker(shape)

    def descend(value: Any) -> Any:
        if not is_mapping(value):
            raise Misfit("", render(plan.annotation), type_name(value))
        taken = {}
        for key, one in value.items():
            name = _key(keys, key)
            if name in taken:
                raise Misfit("", "keys that differ", "two that mean the same")
            taken[name] = under("[...]", values.take, one)  # the key may be personal data: it is not shown
        return taken if make is None else make(value, taken)

    return descend


def _key(keys: Plan, key: Any) -> Any:
    """Take in a key; JSON has only text for it, so that one which does not fit is read as a JSON scalar, too."""
    try:
        return keys.take(key)
    except Misfit as misfit:
        last = misfit
    read = json_scalar(key) if isinstance(key, str) else key
    if read is not key:
        try:
            return keys.take(read)
        except Misfit as misfit:
            last = misfit
    raise Misfit("", f"keys of type {last.expected}", f"a key of type {last.got}") from None


def _choice(plan: Plan) -> Callable[[Any], Any]:
    exact = frozenset(child.annotation for child in plan.children if identity(child.annotation) in SCALARS)
    kinds = [(child.kind, child) for child in plan.children]
    tagged = [child for child in plan.children if _tag(child) is not None]

    def descend(value: Any) -> Any:
        kind = type(value)
        if kind in exact:
            return value
        # A `datetime | str` leaves a text as it is; between classes and a `dict` their order decides.
        near = [] if kind is dict else [child for known, child in kinds if known is kind]
        far = [child for child in plan.children if child not in near]
        if len(tagged) > 1 and type(value) in _PLAIN:  # the tag says which of them is meant
            far = [child for child in far if child not in tagged or _is_tagged(child, value)]
        misfits = []
        for child in (*near, *far):
            try:
                return child.take(value)
            except Misfit as misfit:
                misfits.append(misfit)
        inner = [misfit for misfit in misfits if misfit.path]
        said = inner or [misfit for misfit in misfits if misfit.got != kind.__name__]
        if len(said) == 1:  # one member has the right shape: what is wrong about it says more
            raise said[0]
        raise Misfit("", render(plan.annotation), type_name(value))

    return descend


def _struct(plan: Plan, shape: Record) -> Callable[[Any], Any]:
    """Take in a `msgspec.Struct` as msgspec would, each field by its own plan."""
    cls: Any = shape.type
    config, instances = cls.__struct_config__, plan.instances
    fields = list(zip(shape.fields, plan.children, strict=True))

    def descend(value: Any) -> Any:
        if isinstance(value, instances):
            return value
        keyed = _row(shape, config, value) if config.array_like else value
        if not is_mapping(keyed):
            raise Misfit("", render(plan.annotation), type_name(value))
        if config.tag is not None and keyed.get(config.tag_field, config.tag) != config.tag:
            raise Misfit(f".{config.tag_field}", repr(config.tag), "another value")
        if config.forbid_unknown_fields and not (shape.names | {config.tag_field}).issuperset(keyed):
            raise stranger(keyed, shape.fields)
        taken = {}
        for field, child in fields:
            if field.name in keyed:
                taken[field.attribute] = under(f".{field.name}", child.take, keyed[field.name])
            elif field.required:
                raise Misfit(f".{field.name}", render(field.type), "missing")
        return _made(cls, taken)

    return descend


def _row(shape: Record, config: Any, value: Any) -> Any:
    """Give the keys of a Struct that is written as an array; what is no array, and what is too long, as it is."""
    if not isinstance(value, list | tuple) or not value:
        return None
    names = [] if config.tag is None else [config.tag_field]
    names += [field.name for field in shape.fields]
    fits = len(value) <= len(names) or not config.forbid_unknown_fields
    return dict(zip(names, value, strict=False)) if fits else None


def _tag(plan: Plan) -> Any:
    """Give the settings of a `msgspec.Struct` that has a tag."""
    config = getattr(plan.kind, "__struct_config__", None) if isinstance(plan.view, Record) else None
    return config if config is not None and config.tag is not None else None


def _is_tagged(plan: Plan, value: Any) -> bool:
    config = _tag(plan)
    if isinstance(value, dict):
        return bool(value.get(config.tag_field) == config.tag)
    return bool(value) and value[0] == config.tag


def _record(plan: Plan, shape: Record) -> Callable[[Any], Any]:
    instances = plan.instances
    fields = list(zip(shape.fields, plan.children, strict=False))
    plain = shape.type is dict

    def descend(value: Any) -> Any:
        if instances and isinstance(value, instances):
            return value
        keyed: Any = value
        if shape.kind == "namedtuple" and isinstance(value, list | tuple) and len(value) <= len(fields):
            keyed = {field.name: one for field, one in zip(shape.fields, value, strict=False)}
        if not is_mapping(keyed):
            raise Misfit("", render(plan.annotation), type_name(value))
        strange = not shape.names.issuperset(keyed)
        if strange and shape.rest is None:  # before what is missing: a slip in a key is both, and this names it
            raise stranger(keyed, shape.fields)
        taken = {}
        for field, child in fields:
            if field.name in keyed:
                taken[field.name] = under(f".{field.name}", child.take, keyed[field.name])
            elif field.required:
                raise Misfit(f".{field.name}", render(field.type), "missing")
        if strange:
            taken |= _rest(plan.children[-1], keyed, shape.names)
        return taken if plain else _made(shape.type, taken)

    return descend


def _rest(plan: Plan, value: Mapping[Any, Any], names: frozenset[str]) -> dict[str, Any]:
    """Take in the values under further keys."""
    rest: dict[str, Any] = {}
    for key, one in value.items():
        if not isinstance(key, str):
            raise Misfit("", "keys of type str", f"a key of type {type_name(key)}")
        if key not in names:
            rest[key] = under(key_step(key), plan.take, one)
    return rest


def _made(cls: type, values: dict[str, Any]) -> Any:
    try:
        return cls(**values)
    except (RecursionError, MemoryError):
        raise
    except Exception as error:  # the class's own validation
        raise refused(cls, error) from error
