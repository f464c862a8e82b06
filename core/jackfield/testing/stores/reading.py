"""Reading and writing: revisions, conflicts, ranges, what is refused."""

import pytest

from jackfield.errors import StoreConflict
from jackfield.model.keys import KEY_LIMIT, VALUE_LIMIT
from jackfield.ports import Store
from jackfield.store.checking import check_store
from jackfield.testing.stores.harness import Harness, value_of
from jackfield.testing.stores.model import compare_with_a_model

_BAD_KEYS = ["", "/", "a//b", "/a", "a/", "a/../b", "./a", "a\nb", "a\x00", "\ud800", "k" * (KEY_LIMIT + 1)]


class Reading(Harness):
    """One user at a time."""

    def test_it_has_every_method_of_the_port(self) -> None:
        """A host takes it."""

        async def test(store: Store) -> None:
            assert check_store(store) is store

        self.run(test)

    def test_what_is_put_is_got_and_what_is_deleted_is_gone(self) -> None:
        """And revisions grow over all keys, with deletions, too."""

        async def test(store: Store) -> None:
            assert await store.get("a") is None
            first = await store.put("a", b"1")
            second = await store.put("b", bytes(range(256)))
            assert 0 < first < second
            assert await value_of(store, "a") == b"1"
            assert await value_of(store, "b") == bytes(range(256))
            third = await store.put("a", b"")
            there = await store.get("a")
            assert there is not None
            assert (there.value, there.revision) == (b"", third)
            gone = await store.delete("a")
            assert gone > third > second
            assert await store.get("a") is None
            assert await store.put("a", b"2") > gone

        self.run(test)

    def test_deleting_what_is_not_there_makes_no_revision(self) -> None:
        """It gives 0, and those who watch hear of nothing."""

        async def test(store: Store) -> None:
            before = await store.put("a", b"1")
            assert await store.delete("b") == 0
            assert (await store.range()).revision == before

        self.run(test)

    def test_a_write_that_expects_something_else_raises_and_writes_nothing(self) -> None:
        """Compare-and-swap, absence included; the error says what was expected and what is there."""

        async def test(store: Store) -> None:
            with pytest.raises(StoreConflict) as missing:
                await store.put("a", b"1", expected=5)
            assert (missing.value.key, missing.value.expected, missing.value.found) == ("a", 5, 0)
            assert await store.get("a") is None
            first = await store.put("a", b"1", expected=0)
            with pytest.raises(StoreConflict) as taken:
                await store.put("a", b"2", expected=0)
            assert (taken.value.key, taken.value.expected, taken.value.found) == ("a", 0, first)
            second = await store.put("a", b"2", expected=first)
            with pytest.raises(StoreConflict):
                await store.delete("a", expected=first)
            assert await value_of(store, "a") == b"2"
            assert await store.delete("a", expected=second) > second
            with pytest.raises(StoreConflict):
                await store.delete("a", expected=second)
            assert await store.delete("a", expected=0) == 0

        self.run(test)

    def test_a_range_has_what_is_below_a_path_sorted_and_at_one_revision(self) -> None:
        """A prefix ends where a segment does; without "/" behind it, it is one key."""

        async def test(store: Store) -> None:
            assert (await store.range()).entries == {}
            for key in ("state/b", "state/a/x", "state", "states/a", "state-1", "other"):
                newest = await store.put(key, key.encode())
            found = await store.range("state/")
            assert list(found.entries) == ["state/a/x", "state/b"]
            assert [stored.value for stored in found.entries.values()] == [b"state/a/x", b"state/b"]
            assert found.revision == newest
            assert list((await store.range("state")).entries) == ["state"]
            assert list((await store.range("nothing/")).entries) == []
            assert list((await store.range()).entries) == sorted(
                ["state/b", "state/a/x", "state", "states/a", "state-1", "other"]
            )

        self.run(test)

    @pytest.mark.parametrize("key", _BAD_KEYS, ids=ascii)
    def test_a_bad_key_is_refused_by_every_method(self, key: str) -> None:
        """Empty segments, dots, what is not printable, what is too long."""

        async def test(store: Store) -> None:
            for verb in (store.get(key), store.put(key, b""), store.delete(key)):
                with pytest.raises(ValueError, match="is no key"):
                    await verb
            if key not in {"", "a/"}:
                with pytest.raises(ValueError, match="is no prefix"):
                    await store.range(key)
                with pytest.raises(ValueError, match="is no prefix"):
                    await anext(store.watch(key, since=0))
            assert (await store.range()).revision == 0

        self.run(test)

    def test_a_value_that_is_too_large_or_not_bytes_is_refused(self) -> None:
        """A mebibyte fits, and comes back whole; more belongs elsewhere. Nothing was written."""

        async def test(store: Store) -> None:
            largest = bytes(range(256)) * (VALUE_LIMIT // 256)
            await store.put("k" * KEY_LIMIT, largest)
            assert await value_of(store, "k" * KEY_LIMIT) == largest
            with pytest.raises(ValueError, match="1,048,577 bytes"):
                await store.put("a", bytes(VALUE_LIMIT + 1))
            for wrong in ("text", 3, None):
                with pytest.raises(TypeError, match="a value is bytes"):
                    await store.put("a", wrong)  # type: ignore[arg-type]
            assert await store.get("a") is None

        self.run(test)

    def test_it_does_what_a_model_does(self) -> None:
        """Whatever order the verbs come in."""
        timed = type(self).pass_time is not Harness.pass_time
        compare_with_a_model(self.open_store, self.pass_time if timed else None, self.ttl, self.patience)
