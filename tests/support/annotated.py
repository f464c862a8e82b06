"""Annotations that nobody thought of, and plain data that may fit them."""

import collections
import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import uuid
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import annotated_types
import attrs
import msgspec
import pydantic

from jackfield.contract.shapes import (
    Array,
    Checked,
    Choice,
    Fixed,
    Foreign,
    Leaf,
    Record,
    Table,
    view,
)

T = TypeVar("T")
Few = TypeVar("Few", bound=Annotated[int, msgspec.Meta(lt=3)])
Either = TypeVar("Either", int, str)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    ONE = 1
    HALF = 0.5
    WORD = "word"
    PAIR = (1, 2)


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Bit(enum.IntFlag):
    ONE = 1
    FOUR = 4


class Gap(enum.Flag):
    ONE = 1
    FOUR = 4


@attrs.define
class Tree:
    value: int
    children: "list[Tree]" = attrs.field(factory=list)


@attrs.define
class Page(Generic[T]):
    items: list[T]
    total: int | None = None


@attrs.define
class IntPage(Page[int]):
    name: str = ""


@dataclasses.dataclass
class Pair(Generic[T]):
    left: T
    right: "T | None" = None


@dataclasses.dataclass
class TextPair(Pair[str]): ...


class Options(TypedDict, total=False):
    size: Annotated[int, annotated_types.Ge(0)]
    name: "NotRequired[str | None]"


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Packed(msgspec.Struct, rename="camel"):
    some_key: int
    count: Annotated[int, annotated_types.Gt(0)] = 1


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    x: list[str | None]


class Row(msgspec.Struct, array_like=True):
    x: int
    y: str = ""


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    lives: int
    name: Annotated[str, annotated_types.MinLen(1)] = "x"


SCALARS = [int, float, bool, str, None, Any]
FORMS = [bytes, dt.date, dt.datetime, dt.time, dt.timedelta, uuid.UUID, decimal.Decimal]
ENUMS = [
    Colour,
    Level,
    Mixed,
    Right,
    Bit,
    Gap,
    Literal["a", "b", 1],
    Literal[True, 2],
    Literal[0.5],
    Literal[Colour.RED, "x"],
]
RECORDS = [
    Tree,
    IntPage,
    TextPair,
    Options,
    Point,
    Packed,
    Closed,
    Row,
    Cat,
    Cat | Dog,
    Page[int],
    Page[Colour],
    Pair[float],
    pathlib.Path,
]
NATIVE = [
    Annotated[int, msgspec.Meta(gt=0)],
    Annotated[int, msgspec.Meta(ge=-1, lt=3)],
    Annotated[float, msgspec.Meta(le=0.5)],
    Annotated[str, msgspec.Meta(min_length=1)],
    Annotated[str, msgspec.Meta(pattern="^a")],
    Annotated[list[int], msgspec.Meta(max_length=1)],
    Annotated[dict[str, int], msgspec.Meta(min_length=1)],
    Annotated[int | None, msgspec.Meta(gt=0)],
]
FOREIGN = [
    Annotated[int, annotated_types.Interval(ge=0, le=2)],
    Annotated[int, annotated_types.MultipleOf(2)],
    Annotated[float, annotated_types.Lt(float("inf"))],
    Annotated[str | int, annotated_types.Len(1, 2)],
    Annotated[str | None, annotated_types.MinLen(1)],
    Annotated[str, pydantic.Field(pattern="^a", max_length=3)],
    Annotated[pathlib.Path, annotated_types.MaxLen(2)],
    Annotated[list[str] | dict[str, int], annotated_types.MaxLen(1)],
    Annotated[tuple[int, ...], annotated_types.MinLen(1)],
    Annotated[Any, annotated_types.Gt(0)],
    Annotated[float, pydantic.AllowInfNan(allow_inf_nan=False)],
]


def _record(kind, inner):
    """Make a class of that kind with a required and an optional field."""
    match kind:
        case "attrs":
            return attrs.make_class("A", {"x": attrs.field(type=inner), "y": attrs.field(type=inner, default=None)})
        case "dataclass":
            return dataclasses.make_dataclass("D", [("x", inner), ("y", inner, None)])
        case "typeddict":
            return TypedDict("TD", {"x": inner, "y": NotRequired[inner]})
        case "annotated outside":
            return TypedDict("TD", {"x": inner, "y": Annotated[NotRequired[inner], "a comment"]})
        case "namedtuple":
            return NamedTuple("N", [("x", inner)])
        case _:
            return msgspec.defstruct("S", [("x", inner), ("y", inner, None)])


RECORD_KINDS = ["attrs", "dataclass", "typeddict", "annotated outside", "namedtuple", "struct"]
WRAPPERS = [
    lambda it, other: list[it],
    lambda it, other: Optional[it],  # noqa: UP045  # `None | None` is no type
    lambda it, other: dict[str, it],
    lambda it, other: dict[Colour, it],
    lambda it, other: dict[int, it],
    lambda it, other: dict[float, it],
    lambda it, other: dict[Annotated[str, msgspec.Meta(max_length=2)], it],
    lambda it, other: collections.abc.Iterable[it],
    lambda it, other: collections.abc.Sequence[it],
    lambda it, other: collections.abc.Mapping[str, it],
    lambda it, other: tuple[it, ...],
    lambda it, other: NewType("New", it),
    lambda it, other: Annotated[it, "a comment"],
    lambda it, other: TypeVar("Bound", bound=it),
    lambda it, other: Pair[it],
    lambda it, other: Page[it],
    lambda it, other: Union[it, other],  # noqa: UP007  # not known in advance
    lambda it, other: Union[it, other],  # noqa: UP007
    *(lambda it, other, kind=kind: _record(kind, it) for kind in RECORD_KINDS),
]
# What msgspec knows nothing of, or understands wrongly.
ODDER = [
    lambda it, other: tuple[it, other],  # beside a bound, msgspec 0.22 writes beyond its memory
    lambda it, other: tuple[()],
    lambda it, other: dict[bool, it],
    lambda it, other: dict[Annotated[int, annotated_types.Gt(0)], it],
    lambda it, other: dict[pathlib.PurePath, it],
    lambda it, other: dict[Level | None, it],
    lambda it, other: collections.OrderedDict[str, it],
    lambda it, other: collections.deque[it],
    lambda it, other: set[it],
    lambda it, other: frozenset[it],
    lambda it, other: tuple[it, *tuple[other, ...]],
    lambda it, other: tuple[(*tuple[it, ...], other)],
    lambda it, other: Annotated[NewType("New", list[it]), annotated_types.MaxLen(2)],
]
NATIVE_LEAVES = [*SCALARS, *FORMS, *ENUMS, *RECORDS, *NATIVE, Few, Either]


def annotation(random, leaves=(), wrappers=(), depth=0):
    """Make an annotation of the kinds that msgspec has, and of these."""
    if depth == 3 or random.random() < 0.35:
        return random.choice([*NATIVE_LEAVES, *leaves])
    wrap = random.choice([*WRAPPERS, *wrappers])
    return wrap(*(annotation(random, leaves, wrappers, depth + 1) for _ in range(2)))


KEYS = [
    "1",
    "-1",
    "01",
    "1.5",
    "true",
    "null",
    "x",
    "y",
    "value",
    "children",
    "items",
    "left",
    "size",
    "someKey",
    "red",
    "type",
    "a",
    "aaa",
    "",
]
TEXTS = ["", "a", "ab", "bcd", "red", "x", "word", "2026-01-02", "YQ==", "1.5", "dog", "Cat"]
NUMBERS = [-2, -1, 0, 1, 2, 3, 5, 0.5, 1.0, -0.5, 2.5, 1e300, 10**30]
ATOMS = [None, True, False, *NUMBERS, *TEXTS]


def junk(random, depth=0):
    """Make plain data that need not fit anything."""
    kind = random.randrange(8) if depth < 3 else 9
    if kind == 0:
        return [junk(random, depth + 1) for _ in range(random.randrange(3))]
    if kind == 1:
        return {random.choice(KEYS): junk(random, depth + 1) for _ in range(random.randrange(3))}
    return random.choice(ATOMS)


def plain(random, wanted, depth=0):  # noqa: C901, PLR0911  # one for each shape
    """Make plain data that fit an annotation more often than not."""
    if depth > 6 or random.random() < 0.05:
        return junk(random)

    def inner(one):
        return plain(random, one, depth + 1)

    def some(one):
        return [inner(one) for _ in range(random.randrange(3))]

    match view(wanted):
        case Leaf(type=kind):
            return _leaf(random, kind)
        case Foreign():
            return random.choice(TEXTS)
        case Array(item=item):
            return some(item)
        case Fixed(items=items, rest=rest, tail=tail):
            return [*map(inner, items), *([] if rest is None else some(rest)), *map(inner, tail)]
        case Table(value=value):
            return {random.choice(KEYS): one for one in some(value)}
        case Choice(members=members):
            return inner(random.choice(members))
        case Checked(type=kind):
            return inner(kind)
        case Record() as shape:
            return _fields(random, shape, inner)
        case _:
            return junk(random)


def _leaf(random, kind):
    if kind in (int, float, decimal.Decimal):
        return random.choice(NUMBERS)
    if kind is bool:
        return random.random() < 0.5
    if kind is type(None):
        return None
    if isinstance(kind, enum.EnumMeta):
        if issubclass(kind, enum.Flag):
            return random.randrange(-9, 9)
        return random.choice(json.loads(json.dumps([member.value for member in kind.__members__.values()])))
    return random.choice(ATOMS)


def _fields(random, shape, inner):
    config = getattr(shape.type, "__struct_config__", None)
    if (shape.kind == "namedtuple" and random.randrange(2)) or (config is not None and config.array_like):
        return [inner(field.type) for field in shape.fields]
    found = {field.name: inner(field.type) for field in shape.fields if field.required or random.randrange(2)}
    if config is not None and config.tag is not None and random.randrange(3):
        found[config.tag_field] = config.tag
    return found
