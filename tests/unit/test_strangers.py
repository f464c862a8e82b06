"""What is handed to a host by hand: odd hooks, extension points and subscriptions are refused, and change nothing."""

import threading

import attrs
import pytest

from jackfield import ContractError, Host, PluginError, hookimpl
from jackfield.events import EventBus
from jackfield.strangers import Broken, barrier, can_be_key, innermost, is_a, is_async, layers, named


class Raising:
    """Raises whatever is asked of it."""

    error = RuntimeError

    def __getattribute__(self, name):
        raise object.__getattribute__(self, "error")

    def __call__(self, event=None): ...


class Exiting(Raising):
    """Wants to end the process."""

    error = SystemExit


class OddMeta(type):
    """Cannot be hashed, compared or shown."""

    def __hash__(cls):
        raise OSError

    def __eq__(cls, other):
        raise OSError

    def __repr__(cls):
        raise OSError

    def __instancecheck__(cls, value):
        raise OSError


class Odd(metaclass=OddMeta):
    """A class of it."""


class Audit:
    """A hook implementation like any other."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def jackfield_registered(self, function):
        self.seen.append(function.name)


class Equal(Audit):
    """Says that it is whatever it is compared with."""

    def __eq__(self, other):
        return True

    __hash__ = None


class Incomparable(Audit):
    """Raises when it is compared."""

    def __eq__(self, other):
        raise SystemExit

    __hash__ = None


class OddProperty(Audit):
    """Has a property that raises, beside a hook."""

    @property
    def settings(self):
        raise SystemExit

    @property
    def __name__(self):
        raise OSError


class Unmarked:
    """Implements nothing."""

    def __getattr__(self, name):
        return self


class Unknown:
    """Implements a hook that does not exist."""

    @hookimpl
    def jackfield_no_such_hook(self): ...


class Unmade:
    """Cannot be made."""

    def __init__(self):
        raise SystemExit(3)


# Named, since pytest would look at the objects themselves.
ODD = {
    "raising": Raising(),
    "exiting": Exiting(),
    "unmarked": Unmarked(),
    "unknown": Unknown(),
    "unmade": Unmade,
    "unhashable": Odd,
    "number": 5,
    "none": None,
    "function": print,
    "text": "text",
    "generic": list[int],
    "bytes": b"a.*",
}


@pytest.mark.parametrize("kind", ODD)
def test_hooks_that_are_none_are_refused_and_those_that_are_there_stay(kind):
    """By an error that names them."""
    odd = ODD[kind]
    host, audit = Host(observers=()), Audit()
    host.add_hooks(audit)
    with pytest.raises(PluginError, match=r"\S"):
        host.add_hooks(odd)
    host.register("f", abs)
    assert audit.seen == ["f"]


def test_hooks_that_are_added_again_are_refused_and_stay():
    """Once, wherever they are in the line."""
    host, first, second = Host(observers=()), Audit(), Audit()
    for each in (first, second):
        host.add_hooks(each)
    for each in (first, second, first):
        with pytest.raises(PluginError, match="Audit is added already"):
            host.add_hooks(each)
    host.register("f", abs)
    assert first.seen == second.seen == ["f"]


def test_hooks_are_told_apart_by_what_they_are_and_not_by_what_they_say():
    """Neither equality, nor a name, nor a property that nobody asked for keeps one from being added."""
    host = Host(observers=())
    all_of_them = [Equal(), Equal(), Incomparable(), OddProperty(), Incomparable(), Audit(), OddProperty()]
    for each in all_of_them:
        host.add_hooks(each)
    host.register("f", abs)
    assert all(each.seen == ["f"] for each in all_of_them)


def test_a_hook_that_wants_to_exit_is_a_refusal_or_a_line_in_the_log():
    """As any other exception of a hook."""

    class Refusing:
        @hookimpl
        def jackfield_register(self, function):
            raise SystemExit(1)

    class Late:
        @hookimpl
        def jackfield_registered(self, function):
            raise SystemExit(1)

    host = Host(observers=())
    host.add_hooks(Late())
    host.register("f", abs)
    host.add_hooks(Refusing())
    with pytest.raises(PluginError, match="SystemExit"):
        host.register("g", abs)
    assert set(host.snapshot.functions) == {"f"}


@pytest.mark.parametrize("kind", ["raising", "exiting", "unhashable"])
@pytest.mark.parametrize("place", ["payload", "result"])
def test_an_extension_point_of_odd_types_is_refused_and_later_ones_hold(kind, place):
    """Nothing that is registered afterwards is held against it."""
    odd = ODD[kind]
    host = Host(observers=())
    with pytest.raises(ContractError, match=r"a\.\*"):
        host.expect("a.*", **{"payload": int, "result": int, place: odd})
    host.register("a.f", lambda x: x)
    host.expect("b.*", str, str)

    def wrong(x: int) -> int: ...

    with pytest.raises(ContractError, match="extension point"):
        host.register("b.f", wrong)


@pytest.mark.parametrize("kind", ["none", "number", "bytes", "raising"])
def test_an_extension_point_is_named_by_a_pattern(kind):
    """Anything else is told at once, and not at the next registration."""
    host = Host(observers=())
    with pytest.raises(TypeError, match="a pattern of names"):
        host.expect(ODD[kind], int, int)
    host.register("f", abs)


@pytest.mark.parametrize("kind", ["raising", "exiting", "number", "none", "text"])
@pytest.mark.parametrize("as_event", [True, False], ids=["event", "handler"])
def test_an_odd_subscription_is_refused_and_the_bus_serves_the_others(kind, as_event):
    """By a TypeError of ours."""
    bus, seen = EventBus(), []

    @attrs.frozen
    class Happened:
        number: int

    with bus.subscribe(Happened, seen.append):
        with pytest.raises(TypeError, match=r"subscribe to a class|the handler of event"):
            bus.subscribe(ODD[kind] if as_event else object, print if as_event else ODD[kind])
        assert bus.publish(Happened(1)) == 1
        assert bus.drain(5.0) == ()
    bus.close()
    assert seen == [Happened(1)]


@pytest.mark.parametrize("kind", ["raising", "exiting", "none", "bytes"])
@pytest.mark.parametrize("argument", ["queue", "when_full", "timeout"])
def test_the_settings_of_a_subscription_have_their_types(argument, kind):
    """Said at once, by the name of the argument."""
    bus = EventBus()
    with pytest.raises(TypeError, match=f"{argument} is "):
        bus.subscribe(object, print, **{argument: ODD[kind]})
    assert bus.stats() == ()


def test_a_type_that_cannot_be_hashed_is_subscribed_to_like_any_other():
    """The bus asks no metaclass anything."""
    bus = EventBus()

    @attrs.frozen
    class Event(Odd):
        number: int = 1

    with bus.subscribe(Event, print), bus.subscribe(Odd, print):
        assert [(one.event, one.pending) for one in bus.stats()] == [("Event", 0), ("Odd", 0)]
    assert bus.stats() == ()
    bus.close()


def test_the_barrier_turns_all_but_the_users_interrupt_into_a_reason():
    """Which names the class and the place, and no message."""
    for error in (ValueError("secret"), SystemExit("secret"), GeneratorExit("secret")):
        with pytest.raises(Broken) as caught, barrier("looking"):
            raise error
        assert caught.value.reason.startswith(f"looking raised {type(error).__name__} (")
        assert "secret" not in caught.value.reason
        assert caught.value.__cause__ is error
    with pytest.raises(KeyboardInterrupt), barrier():
        raise KeyboardInterrupt
    with pytest.raises(PluginError), barrier():
        raise PluginError("p", "s", "r", "f")


def test_an_interrupt_in_another_thread_is_nobodys():
    """Python delivers Ctrl-C to the main thread alone."""
    told = []

    def body():
        try:
            with barrier():
                raise KeyboardInterrupt
        except Broken as broken:
            told.append(broken.reason)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert told[0].startswith("reading it raised KeyboardInterrupt")


def test_what_an_object_is_its_real_class_says():
    """And what it is called."""
    assert not is_a(Raising(), str)
    assert [named(one) for one in (Raising(), Odd, Odd(), Raising, len, 3)] == [
        "Raising",
        "Odd",
        "Odd",
        "Raising",
        "len",
        "int",
    ]


def test_what_cannot_be_looked_up_is_no_key():
    """It raises when it is hashed or compared, or is equal to everything."""

    class Everything:
        def __eq__(self, other):
            return True

        def __hash__(self):
            return 1

    assert not any(map(can_be_key, (Odd, Equal(), [], Everything())))
    assert all(map(can_be_key, (int, list[int] | None, Raising(), "text", None)))


def test_layers_end():
    """Whatever wraps whatever."""

    def first(): ...

    async def second(): ...

    first.__wrapped__, second.__wrapped__ = second, first
    assert list(layers(first)) == [first, second]
    assert innermost(first, wrapped=False) is first
    assert is_async(second)
    assert not is_async(first)
