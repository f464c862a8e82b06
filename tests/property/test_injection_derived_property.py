"""Random providers with names, collections, generic types and decorators, against a model that uses plain loops."""

import asyncio
from typing import Generic, TypeVar

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield.injection.injector import Injector
from jackfield.injection.providers import Provider
from jackfield.model.call import Call
from jackfield.model.spec import Colour, Dependency, FunctionSpec, Key

SIZE = 4
TYPES = [type(f"T{index}", (), {}) for index in range(SIZE)]
T = TypeVar("T")


class Box(Generic[T]): ...


@attrs.frozen
class Ask:
    """One dependency: of one object, of all as a list or a dict, or of a box of it."""

    how: str
    type: int
    name: str | None = None

    @property
    def key(self):
        kind = TYPES[self.type]
        forms = {"one": kind, "list": list[kind], "tuple": tuple[kind, ...], "dict": dict[str, kind], "box": Box[kind]}
        return Key(forms[self.how], self.name)


@attrs.frozen
class Row:
    """One provider or decorator of a type, or (type None) the generic provider of boxes, which needs what it boxes."""

    number: int
    type: int | None
    name: str | None
    plugin: str
    decorates: bool
    needs: tuple[Ask, ...]


class Refused(Exception):
    """The model's word for whatever cannot be injected."""


class Model:
    """What is to be injected, said as plainly as possible: nested tuples of the numbers of rows."""

    def __init__(self, rows, overrides):
        plugins = dict.fromkeys(row.plugin for row in rows)
        self.rows = [row for plugin in plugins for row in rows if row.plugin == plugin]
        self.overrides = overrides

    def made(self, row, key, wrapped=()):
        return (row.number, key, *wrapped, *(self.resolve(need) for need in row.needs))

    def decorated(self, row, key):
        made = self.made(row, key)
        for other in self.rows:
            if other.decorates and (other.type, other.name) == key:
                made = self.made(other, key, (made,))
        return made

    def members(self, kind):
        """Walk label and object of all of a type; what cannot be made is None."""
        seen = set()
        for row in self.rows:
            key = (row.type, row.name)
            if row.decorates or row.type != kind or key in seen:
                continue
            if key in self.overrides:
                seen.add(key)
                yield row.name or row.plugin, self.overrides[key]
                continue
            try:
                yield row.name or row.plugin, self.decorated(row, key)
            except Refused:
                yield row.name or row.plugin, None
        yield from ((key[1] or "", fake) for key, fake in self.overrides.items() if key[0] == kind and key not in seen)

    def resolve(self, ask):
        if ask.how == "one":
            return self.one(ask.type, ask.name)
        if ask.how == "box":
            boxes = [row for row in self.rows if row.type is None]
            if len(boxes) != 1:
                raise Refused
            return (boxes[0].number, ("box", ask.type), self.one(ask.type, None))
        members = list(self.members(ask.type))
        labels = [label for label, _ in members]
        if ask.how == "dict" and len({*labels}) < len(labels):
            raise Refused
        there = [(label, member) for label, member in members if member is not None]
        if not there:
            raise Refused
        return tuple(there) if ask.how == "dict" else tuple(member for _, member in there)

    def one(self, kind, name):
        if (kind, name) in self.overrides:
            return self.overrides[kind, name]
        rivals = [row for row in self.rows if not row.decorates and (row.type, row.name) == (kind, name)]
        if len(rivals) != 1:
            raise Refused
        return self.decorated(rivals[0], (kind, name))


@attrs.define(eq=False)
class Made:
    """What a provider gives."""

    row: Row
    key: tuple
    parts: dict


def shape(one):
    """Write what was injected as the model does."""
    if isinstance(one, Made):
        return (one.row.number, one.key, *map(shape, one.parts.values()))
    if isinstance(one, dict):
        return tuple((label, shape(member)) for label, member in one.items())
    return tuple(map(shape, one)) if isinstance(one, list | tuple) and one and one[0] != "fake" else one


def provider(row, request_from, async_from):
    """Make the provider that a row describes; types from a number on are request-scoped, or async."""
    asynchronous = row.type is None or row.type >= async_from
    scope = "request" if row.type is None or row.type >= request_from else "singleton"

    def make(parts):
        key = ("box", TYPES.index(parts.pop("kind"))) if row.type is None else (row.type, row.name)
        return Made(row, key, parts)

    def plain(**parts):
        return make(parts)

    async def awaited(**parts):
        await asyncio.sleep(0)
        return make(parts)

    dependencies = tuple(Dependency(f"p{index}", need.key) for index, need in enumerate(row.needs))
    if row.type is None:
        dependencies = (Dependency("kind", Key(type[T])), Dependency("item", Key(T)))
    if row.decorates:
        dependencies = (Dependency("inner", Key(TYPES[row.type], row.name)), *dependencies)
    return Provider(
        Key(Box[T] if row.type is None else TYPES[row.type], row.name),
        awaited if asynchronous else plain,
        None if row.decorates else scope,
        Colour.ASYNC if asynchronous else Colour.SYNC,
        dependencies=dependencies,
        plugin=row.plugin,
        inner="inner" if row.decorates else "",
    )


def asks(below, hows=("one", "one", "list", "tuple", "dict")):
    return st.builds(
        lambda how, kind, name: Ask(how, kind, name if how == "one" else None),
        st.sampled_from(hows),
        st.integers(0, below - 1),
        st.sampled_from([None, None, "x"]),
    )


@st.composite
def worlds(draw):
    """Draw rows whose needs are of lower types, so that there are no cycles; those are drawn elsewhere."""
    rows = []
    for number in range(draw(st.integers(0, 9))):
        kind = draw(st.sampled_from([*range(SIZE), *range(SIZE), None]))
        name = None if kind is None else draw(st.sampled_from([None, None, "x", "y"]))
        needs = tuple(draw(st.lists(asks(kind), max_size=2))) if kind else ()
        decorates = kind is not None and draw(st.integers(0, 3)) == 0
        rows.append(Row(number, kind, name, draw(st.sampled_from(["", "p", "q"])), decorates, needs))
    overridden = st.tuples(st.integers(0, SIZE - 1), st.sampled_from([None, "x", "z"]))
    overrides = {key: ("fake", *key) for key in draw(st.lists(overridden, unique=True, max_size=2))}
    wanted = draw(st.lists(asks(SIZE, ("one", "list", "tuple", "dict", "box", "box")), min_size=1, max_size=3))
    return rows, overrides, wanted, draw(st.integers(0, SIZE)), draw(st.integers(0, SIZE))


async def agree(injector, model, wanted):
    """Compare each ask alone with the model: refused by both, or given the same."""
    given = {}
    for ask in wanted:

        async def target(it):
            return it

        spec = FunctionSpec("f", "0", "", "", target, Colour.ASYNC, dependencies=(Dependency("it", ask.key),))
        try:
            expected = model.resolve(ask)
        except Refused:
            assert "f@0" in injector.diagnose([spec]).functions
            continue
        assert "f@0" not in injector.diagnose([spec]).functions
        first = await injector.body(spec)(Call("f"), None)
        assert shape(first) == expected
        given[ask] = first
    return given


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(worlds())
def test_injection_is_what_the_model_says(world):
    """Also within overrides and after them, and when a plugin has gone; singletons are the same objects throughout."""
    asyncio.run(compared(*world))


async def compared(rows, overrides, wanted, request_from, async_from):
    injector = Injector()
    made = {row: provider(row, request_from, async_from) for row in rows}
    for one in made.values():
        injector.add(one)
    before = await agree(injector, Model(rows, {}), wanted)

    layer = injector.override({Key(TYPES[kind], name): fake for (kind, name), fake in overrides.items()})
    await agree(injector, Model(rows, overrides), wanted)
    assert await injector.restore(layer).aclose() == ()

    for ask, again in (await agree(injector, Model(rows, {}), wanted)).items():
        if ask.how == "one" and ask.type < request_from:
            assert again is before[ask]

    left = [row for row in rows if row.plugin != "p"]
    gone = {one for row, one in made.items() if row.plugin == "p"}
    injector.remove(*gone)
    cells = [cell for layer in injector._state.value.views for cell in layer.cells]
    assert all(gone.isdisjoint(getattr(cell, "roots", (cell,))) for cell in cells), "nothing of what has gone is kept"
    await agree(injector, Model(left, {}), wanted)
