"""The suite for stores finds what is wrong with one: each store here has one fault, and a test fails for it."""

from contextlib import aclosing
from types import MappingProxyType

import pytest

from jackfield.ports import Range
from jackfield.store import MemoryStore
from jackfield.testing import FakeClock
from jackfield.testing.stores import StoreConformance


class Overwrites(MemoryStore):
    """Writes whatever is there."""

    async def put(self, key, value, /, *, expected=None, lease=None):
        return await super().put(key, value, lease=lease)


class DeletesAnyway(MemoryStore):
    """Deletes whatever is there."""

    async def delete(self, key, /, *, expected=None):
        return await super().delete(key)


class CountsWhatWasNotThere(MemoryStore):
    """Says that it has deleted what was not there."""

    async def delete(self, key, /, *, expected=None):
        return await super().delete(key, expected=expected) or 1


class TextPrefixes(MemoryStore):
    """Takes a prefix for the beginning of a text."""

    async def range(self, prefix="", /):
        found = await super().range()
        entries = {key: stored for key, stored in found.entries.items() if key.startswith(prefix)}
        return Range(MappingProxyType(entries), found.revision)


class Unsorted(MemoryStore):
    """Gives a range in some order."""

    async def range(self, prefix="", /):
        found = await super().range(prefix)
        return Range(MappingProxyType(dict(reversed(found.entries.items()))), found.revision)


class WithoutLeases(MemoryStore):
    """Keeps what was put with a lease."""

    async def put(self, key, value, /, *, expected=None, lease=None):
        return await super().put(key, value, expected=expected)


class TellsTwice(MemoryStore):
    """Begins a watch with what its reader knows."""

    def watch(self, prefix="", /, *, since):
        return super().watch(prefix, since=max(since - 1, 0))


class HidesDeletions(MemoryStore):
    """Tells of what is put alone."""

    async def watch(self, prefix="", /, *, since):
        async with aclosing(super().watch(prefix, since=since)) as events:
            async for event in events:
                if event.value is not None:
                    yield event


class NeverCloses(MemoryStore):
    """Goes on."""

    async def close(self):
        pass


class AcceptsAnyKey(MemoryStore):
    """Mends keys instead of refusing them."""

    async def get(self, key, /):
        return await super().get("/".join(filter(None, key.split("/"))) or "empty")


def suite_of(store, seconds):
    class Suite(StoreConformance):
        patience = seconds

        async def open_store(self):
            self.clock = FakeClock()
            return store(self.clock)

        async def pass_time(self, seconds):
            self.clock.advance(seconds)

    return Suite()


@pytest.mark.parametrize(
    ("store", "test", "arguments"),
    [
        (Overwrites, "a_write_that_expects_something_else_raises_and_writes_nothing", ()),
        (DeletesAnyway, "a_write_that_expects_something_else_raises_and_writes_nothing", ()),
        (CountsWhatWasNotThere, "deleting_what_is_not_there_makes_no_revision", ()),
        (TextPrefixes, "a_range_has_what_is_below_a_path_sorted_and_at_one_revision", ()),
        (Unsorted, "a_range_has_what_is_below_a_path_sorted_and_at_one_revision", ()),
        (WithoutLeases, "a_lease_that_is_released_takes_its_keys_along", ()),
        (TellsTwice, "a_watch_from_a_range_goes_on_where_that_ended", ()),
        (HidesDeletions, "a_watch_tells_what_was_and_what_comes", ()),
        (NeverCloses, "a_closed_store_says_so", ()),
        (AcceptsAnyKey, "a_bad_key_is_refused_by_every_method", ("a//b",)),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited:RuntimeWarning"
)  # of the verbs behind the one that failed
def test_a_fault_is_found(store, test, arguments):
    """By the test that is about it, and none is needed to read the store's code."""
    with pytest.raises((AssertionError, TimeoutError, pytest.fail.Exception)):
        getattr(suite_of(store, 0.5), f"test_{test}")(*arguments)
    getattr(suite_of(MemoryStore, 60.0), f"test_{test}")(*arguments)
