"""The states of plugins: the last few versions under host and plugin, and none of a plugin that is gone."""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jackfield.model.keys import VALUE_LIMIT
from jackfield.plugins.state import KEPT, PluginStates
from jackfield.store import MemoryStore

_NAMES = st.text(st.characters(), min_size=1, max_size=30)


def run(test):
    async def body():
        store = MemoryStore()
        await test(store, PluginStates(store, "blue-1"))

    asyncio.run(body())


def test_what_was_saved_last_is_what_the_next_instance_gets():
    """Whatever its version is: a plugin may go back to an older one."""

    async def test(store, states):
        assert await states.latest("billing") is None
        await states.save("billing", "2.0", b"new")
        assert await states.latest("billing") == b"new"
        await states.save("billing", "1.0", b"old")
        assert await states.latest("billing") == b"old"
        await states.save("billing", "2.0", b"new again")
        assert await states.latest("billing") == b"new again"

    run(test)


def test_the_last_few_versions_are_kept_and_no_more():
    """However often a plugin is replaced."""

    async def test(store, states):
        for number in range(20):
            await states.save("billing", f"1.{number}", b"%d" % number)
            await states.save("billing", f"1.{number}", b"%d, final" % number)
        entries = (await store.range("hosts/blue-1/state/billing/")).entries
        assert {key.rpartition("/")[2] for key in entries} == {f"1.{19 - back}" for back in range(KEPT)}
        assert (await store.range()).entries == entries
        assert await states.latest("billing") == b"19, final"

    run(test)


def test_nothing_is_left_of_a_plugin_that_is_forgotten():
    """Others keep theirs, those whose names begin alike and those of other hosts, too."""

    async def test(store, states):
        other = PluginStates(store, "blue-10")
        await other.save("bill", "1", b"of another host")
        for plugin in ("bill", "billing", "bill.ing"):
            await states.save(plugin, "1", plugin.encode())
        assert await states.forget("bill") == 1
        assert await states.forget("bill") == 0
        assert await states.latest("bill") is None
        assert await states.latest("billing") == b"billing"
        assert await states.latest("bill.ing") == b"bill.ing"
        assert await other.latest("bill") == b"of another host"

    run(test)


def test_a_state_that_is_too_large_is_refused_and_leaves_the_last_one():
    """The error has the figures."""

    async def test(store, states):
        await states.save("billing", "1.0", b"old")
        with pytest.raises(ValueError, match="1,048,577 bytes"):
            await states.save("billing", "1.1", bytes(VALUE_LIMIT + 1))
        assert await states.latest("billing") == b"old"

    run(test)


@settings(deadline=None)
@example(first="a/b", second="a", version="..")
@example(first="..", second=".", version="1/2")
@example(first="\udcff", second="\x00", version="\udcff")
@given(first=_NAMES, second=_NAMES, version=_NAMES)
def test_whatever_names_metadata_has_they_do_not_collide(first, second, version):
    """A name with slashes or dots in it is no other's folder."""

    async def test(store, states):
        await states.save(first, version, b"1")
        assert await states.latest(second) == (b"1" if first == second else None)
        await states.forget(second)
        assert await states.latest(first) == (None if first == second else b"1")

    run(test)
