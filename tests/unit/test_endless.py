"""Nothing that an annotation, a signature or a value looks like hangs a registration, a schema or a result.

Each case runs in a process of its own, since what hangs in C can be ended in no other way.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jackfield

WATCHDOG = 60  # seconds, after which it hangs: each takes less than one

PRELUDE = """
import collections, collections.abc, dataclasses, enum, functools, inspect, types
from typing import *
import jackfield, msgspec
from jackfield import Host
from jackfield.contract import changes, fits, specify
from jackfield.contract.payload.schema import payload_schema, result_schema

def doubled(times=30, make=lambda inner: tuple[inner, inner], made=int):
    for _ in range(times):
        made = make(made)
    return made

def registered(function):
    spec = specify("a.b", function)
    payload_schema(spec), result_schema(spec), changes(spec, specify("a.b", function)), fits(spec, int, int)
    with Host() as host:
        host.register("a.b", function)
    return spec

def unchecked(function, name):
    (note,) = [note for note in registered(function).notes if "'x'" in note]
    assert f"{name} cannot be checked: any value is passed on" in note, note

T = doubled()

class Endless(inspect.Signature):
    class Many(dict):
        def values(self):
            while True:
                yield inspect.Parameter("p", inspect.Parameter.KEYWORD_ONLY)
        def items(self):
            return ((value.name, value) for value in self.values())
    parameters = property(lambda self: self.Many())

def endless(*args, **kwargs): ...
endless.__signature__ = Endless()

def refused(call):
    try:
        specify("a.b", call)
    except jackfield.ContractError as error:
        assert "`__signature__` has more than 1000 parameters" in str(error), error
    else:
        assert False
"""

TOO_LARGE = {
    "a type of 2**30 parts": "def f(x: T) -> T: ...\nunchecked(f, 'tuple[...]')",
    "two that are equal": "def f(x: T, y: doubled()) -> T: ...\nunchecked(f, 'tuple[...]')",
    "in a string": "def f(x: 'T') -> 'list[T]': ...\nunchecked(f, 'T')",
    "in a string within": "def f(x: list['T']) -> Optional['T']: ...\nunchecked(f, 'list[...]')",
    "in strings of strings": (
        "A0 = int\nfor i in range(40): globals()[f'A{i+1}'] = tuple[f'A{i}', f'A{i}']\n"
        "def f(x: 'A40'): ...\nunchecked(f, 'A40')"
    ),
    "in a dataclass": (
        "@dataclasses.dataclass\nclass D:\n  'doc'\n  x: T\n  y: 'T'\ndef f(x: D) -> D: ...\nunchecked(f, 'tuple[...]')"
    ),
    "in a NamedTuple": "class D(NamedTuple):\n  x: T\ndef f(x: D) -> D: ...\nunchecked(f, 'tuple[...]')",
    "in a TypedDict": "class D(TypedDict):\n  x: T\ndef f(x: D) -> D: ...\nunchecked(f, 'tuple[...]')",
    "in a Struct": (
        "class D(msgspec.Struct):\n  x: T\n  y: int = 1\ndef f(x: D) -> int: return x.y\nunchecked(f, 'tuple[...]')\n"
        "with Host() as host:\n  host.register('a.b', f)\n  assert host.call('a.b', {'x': []}) == 1"
    ),
    "the bound of a type variable": "V = TypeVar('V', bound=T)\ndef f(x: V) -> V: ...\nunchecked(f, 'tuple[...]')",
    "a NewType": "V = NewType('V', T)\ndef f(x: V) -> V: ...\nunchecked(f, 'tuple[...]')",
    "NewTypes of NewTypes": (
        "V = doubled(40, lambda inner: NewType('V', tuple[inner, inner]))\ndef f(x: V) -> V: ...\nregistered(f)"
    ),
    "a Callable": (
        "C = doubled(30, lambda t: collections.abc.Callable[[t, t], t])\n"
        "def f(x: C): ...\nunchecked(f, 'Callable[...]')"
    ),
    "100 layers of notes on a union": (
        "A = doubled(200, lambda t: Annotated[t | None, 1])\ndef f(x: A): ...\nunchecked(f, 'Annotated[...]')"
    ),
    "200,000 levels": "L = doubled(200_000, lambda t: list[t])\ndef f(x: L): ...\nunchecked(f, 'list[...]')",
    "within itself": "G = [0]\nG[0] = types.GenericAlias(list, (G,))\ndef f(x: G[0]): ...\nunchecked(f, 'list[...]')",
    "a million positions": "def f(x: tuple[(int,) * 10**6]): ...\nunchecked(f, 'tuple[...]')",
    "a million literals": (
        "L = Literal.__getitem__(tuple(range(10**6)))\ndef f(x: L): ...\nunchecked(f, 'Literal[...]')"
    ),
    "ten megabytes of text": ("def f(x): ...\nf.__annotations__['x'] = 'int|' * 3 * 10**6 + 'int'\nregistered(f)"),
    "text of many brackets": "def f(x): ...\nf.__annotations__['x'] = 'list[' * 5000 + ']' * 5000\nregistered(f)",
    "a class of itself with ever larger arguments": (
        "V = TypeVar('V')\n@dataclasses.dataclass\nclass D(Generic[V]):\n  x: 'D[tuple[V, V]] | None' = None\n"
        "def f(x: D[int]) -> D[int]: ...\nregistered(f)"
    ),
    "a class of itself twice with ever larger arguments": (
        "V = TypeVar('V')\n@dataclasses.dataclass\nclass D(Generic[V]):\n  x: 'D[tuple[V, V]] | None' = None\n"
        "  y: 'D[list[V]] | None' = None\ndef f(x: D[int]) -> D[int]: ...\nregistered(f)"
    ),
    "a flag of thirty bits": (
        "F = enum.Flag('F', {f'm{i}': 1 << i for i in range(0, 60, 2)}, boundary=enum.STRICT)\n"
        "def f(x: F) -> F: ...\nregistered(f)"
    ),
    "a default": "z = doubled(40, lambda z: [z, z], [])\ndef f(x: list = z, y: int = 1): ...\nregistered(f)",
    "a docstring of ten million lines": (
        "def f(x: int): ...\nf.__doc__ = ' \\n\\t x' * 10**7\nassert registered(f).summary == 'x'"
    ),
    "injected": ("def f(x: T = jackfield.inject()): ...\nassert specify('a.b', f).dependencies[0].key.type is not T"),
    "provided": (
        "def make() -> T: ...\ntry:\n  Host().provide(make)\nexcept jackfield.InjectionError as error:\n"
        "  assert 'too many parts' in str(error)\nelse:\n  assert False"
    ),
}
ENDLESS = {
    "of a function": "refused(endless)",
    "below a partial": "refused(functools.partial(endless, 1))",
    "of a method": "class A:\n  run = endless\nrefused(A().run)",
    "of an object that is called": "class A:\n  __call__ = endless\nrefused(A())",
    "of a constructor": "class A:\n  __init__ = endless\n  def __call__(self): ...\nrefused(A)",
    "of what is wrapped": "g = functools.wraps(endless)(lambda *a: 1)\ndel g.__signature__\nrefused(g)",
    "within a plain Signature": (
        "def f(x): ...\nf.__signature__ = inspect.Signature()\n"
        "f.__signature__._parameters = types.MappingProxyType(Endless.Many())\nrefused(f)"
    ),
}


def run(code: str) -> None:
    core = str(Path(jackfield.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        env={**os.environ, "PYTHONPATH": core},
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("code", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_too_large_is_not_checked(code):
    """A function is registered whatever its annotations are made of; of what nobody could walk a note says so."""
    run(code)


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` statements")
def test_aliases_of_aliases_are_no_tree():
    """Forty aliases, each of the one before, twice, are a type of 2**40 parts; a dozen may all be in one another."""
    run(
        "exec('type A0 = int\\n' + '\\n'.join(f'type A{i + 1} = tuple[A{i}, A{i}]' for i in range(40)))\n"
        "def f(x: A40) -> A40: ...\nregistered(f)\n"
        "exec('\\n'.join(f'type B{i} = list[' + '|'.join(f'B{j}' for j in range(12)) + '] | int' for i in range(12)))\n"
        "def g(x: B1) -> B1: ...\nregistered(g)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("code", ENDLESS.values(), ids=ENDLESS)
def test_a_signature_without_end_is_refused(code):
    """A `__signature__` is an object of its author's: it is read as far as parameters may go, before `inspect` does."""
    run(code)


@pytest.mark.slow
def test_a_signature_of_ones_own_is_read():
    """A subclass of Signature, as some libraries have, is as good as the class itself."""
    run(
        "class Own(inspect.Signature): ...\ndef f(*args): ...\n"
        "f.__signature__ = Own([inspect.Parameter('x', inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=int)])\n"
        "assert registered(f).parameters[0].annotation is int"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "value = doubled(40, lambda z: [z, z], [])",
        "value = doubled(60, lambda z: {'a': z, 'b': z}, {})",
        "value = doubled(60, lambda z: (z, [z]), ())",
        "D = dataclasses.make_dataclass('D', ['a', 'b'])\nvalue = doubled(60, lambda z: D(z, z), None)",
        "value = [[0] * 10**6] * 10**6",
        "value = [{str(i): i for i in range(10**5)}] * 10**6",
    ],
)
def test_a_value_that_is_in_itself_many_times_over_has_no_form(code):
    """A value is written once, and counted as often as it is met: the bound is met at once, and said."""
    run(
        f"{code}\ntry:\n  jackfield.to_json(value)\nexcept TypeError as error:\n"
        "  assert 'is one of more than 2,000,000 lists and tables' in str(error), error\nelse:\n  assert False\n"
        "from jackfield.wire.documents import show_json\n"
        "assert isinstance(value, list) and len(value) > 10 or show_json(value)[1]"
    )


def test_what_is_in_several_places_is_written_in_each():
    """Sharing is no fault, at whatever depth it is met."""
    shared = [[{"n": [number]}] for number in range(30)]
    value = {"a": shared, "b": [shared, [shared]]}
    assert jackfield.to_json(value).count(b'{"n":[29]}') == 3
