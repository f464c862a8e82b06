"""The shapes that an annotation can have, as frozen values. Children stay annotations: types may be recursive."""

import datetime as dt
import decimal
import uuid
from collections import abc, deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

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
class Constraint:
    """One thing that a value must meet, once it has been converted.

    Attributes:
        words: what is expected, with `{}` for the name of the type.
        test: whether a value meets it; what it does not concern, it does.
        keywords: what JSON Schema says of it.
        change: what it makes of a value, instead of `test`: a validator of pydantic's.
        concerns: the kinds of values that it is about; None for any.
        said: what a JSON Schema says of it in words.
    """

    words: str
    test: Callable[[Any], object] | None
    keywords: Mapping[str, Any] = attrs.field(factory=dict)
    change: Callable[[Any], Any] | None = None
    concerns: frozenset[Any] | None = None
    said: str = ""


@attrs.frozen
class Anything:
    """An annotation that cannot be checked, with the `note` that says so, or that needs no check."""

    note: str | None = None

    @property
    def native(self) -> bool:
        """Whether msgspec may see the annotation: one that is odd may be the end of it."""
        return self.note is None


@attrs.frozen
class Leaf:
    """A scalar, an enum or a literal: `type` is what to tell msgspec."""

    type: Any


@attrs.frozen
class Foreign:
    """A class that msgspec does not know: `holds` tells its instances; `note` what of it is not looked at."""

    type: Any
    holds: Callable[[Any], bool]
    note: str | None = None


@attrs.frozen
class Delegated:
    """A type that pydantic converts, by its validators: `take` does, `describe` gives its JSON Schema."""

    type: Any
    take: Callable[[Any], Any]
    describe: Callable[..., dict[str, Any]]
    native: bool = False


@attrs.frozen
class Array:
    """A sequence or a set of `item`, made by `make`; `kind` is the class as annotated."""

    kind: Any
    make: type
    item: Any

    @property
    def native(self) -> bool:
        """Whether msgspec takes it in: a `deque` it does not know, and of an `Iterable` it looks at no item."""
        return self.make is not deque and self.kind not in {abc.Iterable, abc.Reversible}


@attrs.frozen
class Fixed:
    """A tuple with one type for each position; with a `rest`, any number of these before the last ones, the `tail`."""

    items: tuple[Any, ...]
    rest: Any = None
    tail: tuple[Any, ...] = ()

    @property
    def native(self) -> bool:
        """Whether msgspec reads it right: it takes `*tuple[str, ...]` for one position."""
        return self.rest is None


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
    """`type` with constraints.

    Attributes:
        type: the type without them.
        constraints: in the order in which they are held against a value.
        native: whether msgspec enforces all of them.
        said: what else a JSON Schema says of it.
        note: which are not enforced.
    """

    type: Any
    constraints: tuple[Constraint, ...]
    native: bool
    said: Mapping[str, Any] = attrs.field(factory=dict)
    note: str | None = None


@attrs.frozen
class Record:
    """A class with named fields, or a record of several parameters.

    Attributes:
        type: the class, or `dict` for a `TypedDict` and for a record of parameters.
        kind: which library's.
        fields: in the order of the constructor.
        native: whether msgspec builds it just as its constructor would.
        rest: the type of further keys, or None when there must be none.
        note: what of it is not known.
    """

    type: type
    kind: Literal["attrs", "dataclass", "typeddict", "namedtuple", "struct", "parameters"]
    fields: tuple[Field, ...]
    native: bool = True
    rest: Any = None
    note: str | None = None
    names: frozenset[str] = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: frozenset(field.name for field in self.fields), takes_self=True),
    )

    @property
    def closed(self) -> bool:
        """Whether unknown keys are refused by us; a `msgspec.Struct` has a setting of its own."""
        return self.kind != "struct" and self.rest is None


View: TypeAlias = Anything | Leaf | Foreign | Delegated | Array | Fixed | Table | Choice | Checked | Record


def children(shape: View) -> tuple[Any, ...]:  # noqa: PLR0911  # one for each shape
    """Give the annotations one level below a shape, in the order of its fields."""
    match shape:
        case Array(item=item):
            return (item,)
        case Fixed(items=items, rest=rest, tail=tail):
            return items if rest is None else (*items, *tail, rest)
        case Choice(members=items):
            return items
        case Table(key=key, value=value):
            return key, value
        case Checked(type=inner):
            return (inner,)
        case Record(fields=fields, rest=rest):
            return (*(field.type for field in fields), *(() if rest is None else (rest,)))
        case _:
            return ()
