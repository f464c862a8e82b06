"""Handing the state of an old instance to a new one."""

import asyncio
import datetime as dt
import threading
from collections.abc import Iterator
from time import monotonic

import attrs
import msgspec
import pytest

from jackfield.errors import PluginError
from jackfield.plugins.handover import give_state, take_state
from jackfield.plugins.instance import Instance
from jackfield.runtime.home import HomeLoop
from jackfield.testing import no_leaks
from support.plugins import PATIENCE, SHORT


@attrs.frozen
class Cart:
    items: list[str]
    at: dt.datetime


class Plain:
    state: object = None

    def snapshot(self):
        return self.state

    def restore(self, state):
        self.state = state


class Typed:
    cart: Cart

    async def snapshot(self):
        return Cart(["tea"], dt.datetime(2024, 5, 1, tzinfo=dt.UTC))

    async def restore(self, state: Cart) -> None:
        self.cart = state


class World:
    def __init__(self) -> None:
        self.home = HomeLoop()

    def take(self, target, timeout=PATIENCE):
        return take_state(Instance("shop", target, self.home), monotonic() + timeout)

    def give(self, target, state, timeout=PATIENCE):
        return give_state(Instance("shop", target, self.home), state, monotonic() + timeout)


@pytest.fixture
def world() -> Iterator[World]:
    with no_leaks(timeout=PATIENCE):
        world = World()
        yield world
        world.home.close()


@pytest.mark.parametrize("state", [{"a": [1, 2.5, None]}, b"raw", "text", {1: "one"}, [True]])
def test_plain_state_arrives_as_it_was(world, state):
    """What goes in comes out."""
    old, new = Plain(), Plain()
    old.state = state
    assert world.give(new, world.take(old))
    assert new.state == state


def test_an_annotated_restore_gets_its_type(world):
    """The state is checked against the annotation and converted, and both methods may be async."""
    new = Typed()
    world.give(new, world.take(Typed()))
    assert new.cart == Cart(["tea"], dt.datetime(2024, 5, 1, tzinfo=dt.UTC))


def test_a_state_that_does_not_fit_is_refused_with_the_place(world):
    """Versions may disagree; the error says where."""
    with pytest.raises(PluginError, match=r"restore: the state does not fit: .*\$\.items") as caught:
        world.give(Typed(), msgspec.msgpack.encode({"items": 3, "at": "2024-05-01T00:00:00Z"}))
    assert caught.value.stage == "restore"


@pytest.mark.parametrize(
    ("state", "named"),
    [
        (object(), "$ is object"),
        ({"carts": [{"lock": threading.Lock()}]}, "$['carts'][0]['lock'] is lock"),
        (Cart(["a", open], dt.datetime.now(dt.UTC)), "$.items[1] is builtin_function_or_method"),
        ({"n": 2**70}, "$['n'] is int"),
    ],
)
def test_what_cannot_be_stored_is_named(world, state, named):
    """The error names the place and the type, never the value."""
    old = Plain()
    old.state = state
    with pytest.raises(PluginError, match=r"snapshot\(\) gave what cannot be stored") as caught:
        world.take(old)
    assert named in caught.value.reason


def test_a_state_that_contains_itself_is_refused(world):
    """Recursion is an error of the plugin, not of the host."""
    old = Plain()
    old.state = loop = []
    loop.append(loop)
    with pytest.raises(PluginError, match="contains itself"):
        world.take(old)


def test_objects_without_the_methods_have_no_state(world):
    """Both methods are optional, and so is a state."""
    assert world.take(object()) is None
    assert world.take(None) is None
    assert world.take(Plain()) is None
    assert world.give(object(), b"\xc0") is False


def test_a_snapshot_that_hangs_or_raises_is_a_fault(world):
    """Within its time, or not at all."""

    class Hanging:
        async def snapshot(self):
            await asyncio.sleep(PATIENCE)

    class Raising:
        async def snapshot(self):
            raise SystemExit

    with pytest.raises(PluginError, match=r"shop: snapshot: snapshot\(\) took too long"):
        world.take(Hanging(), SHORT)
    with pytest.raises(PluginError, match=r"shop: snapshot: snapshot\(\) raised SystemExit"):
        world.take(Raising())
