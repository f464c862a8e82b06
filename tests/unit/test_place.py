"""Where something is defined, for the faults that name it."""

import functools
import importlib.util
import sys

import pytest

from jackfield import ContractError, Host
from jackfield.model.place import place_of

LINES = """
import functools

def deco(f):
    @functools.wraps(f)
    def inner(*args):
        return f(*args)
    return inner

@deco
def plain(): ...

class Class:
    def method(self): ...
    def __call__(self): ...

class Proxy:
    def __getattribute__(self, name):
        raise LookupError(name)
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    file = tmp_path_factory.mktemp("place") / "placed.py"
    file.write_text(LINES, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("placed", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["placed"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["placed"]


@pytest.mark.parametrize(
    ("pick", "line"),
    [
        (lambda m: m.plain, 10),
        (lambda m: functools.partial(functools.partial(m.plain), 1), 10),
        (lambda m: m.Class, 13),
        (lambda m: m.Class(), 13),
        (lambda m: m.Class().method, 14),
        (lambda m: m.deco, 4),
    ],
)
def test_the_line_is_that_of_the_definition(module, pick, line):
    """Through wrappers, partials and methods; a decorator belongs to the function."""
    assert place_of(pick(module)) == f"{module.__file__}:{line}"


@pytest.mark.parametrize("target", [len, 5, None, str, type("Made", (), {})])
def test_what_has_no_source_has_no_place(target):
    """Builtins, and what was made out of nothing."""
    assert place_of(target) == ""


def test_an_object_that_raises_has_no_place(module):
    """Asking is never an error."""
    assert place_of(module.Proxy()) in ("", f"{module.__file__}:17")


def rows():
    yield 1


def text(value: str) -> str:
    return value


def test_every_fault_of_a_contract_has_the_line():
    """Of a function that is refused, and of one that does not fit a handle or an extension point."""
    host = Host(observers=())
    host.register("text", text)
    host.expect("numbers.*", int, int)
    refusals = (
        lambda: host.register("rows", rows),
        lambda: host.function("text", int, int),
        lambda: host.register("numbers.text", text),
    )
    for refused, target in zip(refusals, (rows, text, text), strict=True):
        with pytest.raises(ContractError) as caught:
            refused()
        where = f"{__file__}:{target.__code__.co_firstlineno}"
        assert {fault.where for fault in caught.value.faults} == {where}
        assert f"({where})" in str(caught.value)
