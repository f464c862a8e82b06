"""The shapes that an annotation can have, as frozen values. Children stay annotations: types may be recursive."""

import datetime as dt
import decimal
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

NUMBERS: Final = (int, float, bool)
SCALARS: Final = frozenset(
    {
        *NUMBERS,
        type(None),
        str,
        bytes,
        bytearray,
        memoryview,
        dt.datetime,
        dt.date,
        dt.time,
        dt.timedelta,
        uuid.UUID,
        decimal.Decimal,
    }
)


@attrs.frozen
class Field:
    """One field of a record.

    Attributes:
        name: its key in plain data.
        type: its annotation.
        required: whether it must be there.
        attribute: what an instance calls it.
    """

    name: str
    type: Any = Any
    required: bool = True
    attribute: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))

    @property
    def argument(self) -> str:
        """The parameter it stands for when the record is passed to a function of several."""
        return self.attribute if self.attribute.lstrip("_") != self.name else self.name


@attrs.frozen
class Anything:
    """An annotation that cannot be checked, or that needs no check."""


@attrs.frozen
class Leaf:
    """A scalar, an enum or a literal: `type` is what to tell msgspec."""

    type: Any


@attrs.frozen
class Foreign:
    """A class that msgspec does not know: `holds` tells its instances."""

    type: Any
    holds: Callable[[Any], bool]


@attrs.frozen
class Array:
    """A sequence or a set of `item`, made by `make`; `kind` is the class as annotated."""

    kind: Any
    make: type
    item: Any

    @property
    def native(self) -> bool:
        """Whether msgspec builds it: a `deque` it does not know."""
        return self.make is not deque


@attrs.frozen
class Fixed:
    """A tuple with one type for each position."""

    items: tuple[Any, ...]


@attrs.frozen
class Table:
    """A mapping; converted to a `dict`, or to the subclass of it that is asked for."""

    key: Any
    value: Any
    kind: type = dict

    @property
    def native(self) -> bool:
        """Whether msgspec builds it just as its constructor would."""
        return self.kind is dict


@attrs.frozen
class Choice:
    """A union."""

    members: tuple[Any, ...]


@attrs.frozen
class Checked:
    """`type` with constraints: `metas` are msgspec's, `tests` are predicates with their names."""

    type: Any
    metas: tuple[msgspec.Meta, ...]
    tests: tuple[tuple[str, Callable[[Any], object]], ...]
    native: bool


@attrs.frozen
class Record:
    """A class with named fields, or a record of several parameters.

    Attributes:
        type: the class, or `dict` for a `TypedDict` and for a record of parameters.
        kind: which library's.
        fields: in the order of the constructor.
        native: whether msgspec builds it just as its constructor would.
        rest: the type of further keys, or None when there must be none.
    """

    type: type
    kind: Literal["attrs", "dataclass", "typeddict", "namedtuple", "struct", "parameters"]
    fields: tuple[Field, ...]
    native: bool = True
    rest: Any = None
    names: frozenset[str] = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: frozenset(field.name for field in self.fields), takes_self=True),
    )

    @property
    def closed(self) -> bool:
        """Whether unknown keys are refused by us; a `msgspec.Struct` has a setting of its own."""
        return self.kind != "struct" and self.rest is None


View: TypeAlias = Anything | Leaf | Foreign | Array | Fixed | Table | Choice | Checked | Record


def children(shape: View) -> tuple[Any, ...]:
    """Give the annotations one level below a shape, in the order of its fields."""
    match shape:
        case Array(item=item):
            return (item,)
        case Fixed(items=items) | Choice(members=items):
            return items
        case Table(key=key, value=value):
            return key, value
        case Checked(type=inner):
            return (inner,)
        case Record(fields=fields, rest=rest):
            return (*(field.type for field in fields), *(() if rest is None else (rest,)))
        case _:
            return ()
