"""What every store must do; an adapter joins by standing in STORES."""

import threading

import pytest

from jackfield.ports import Store
from jackfield.store import MemoryStore

STORES = [MemoryStore]


@pytest.fixture(params=STORES)
def store(request):
    return request.param()


def test_it_is_a_store(store):
    """The Protocol is met."""
    assert isinstance(store, Store)


def test_what_is_put_is_got_and_what_is_deleted_is_gone(store):
    """And revisions grow over all keys."""
    assert store.get("a") is None
    first = store.put("a", b"1")
    second = store.put("b", b"2")
    assert 0 < first < second
    assert (store.get("a").value, store.get("a").revision) == (b"1", first)
    assert store.delete("a") is True
    assert store.delete("a") is False
    assert store.get("a") is None


def test_a_write_that_expects_something_else_writes_nothing(store):
    """Compare-and-swap, absence included."""
    assert store.put("a", b"1", expected=5) == 0
    first = store.put("a", b"1", expected=0)
    assert store.put("a", b"2", expected=0) == 0
    assert store.get("a").value == b"1"
    assert store.put("a", b"2", expected=first) > first


def test_keys_are_listed_by_prefix_sorted(store):
    """As paths are."""
    for key in ("state/b", "state/a", "other"):
        store.put(key, b"")
    assert store.keys("state/") == ("state/a", "state/b")
    assert store.keys() == ("other", "state/a", "state/b")


def test_of_many_writers_that_expect_the_same_one_wins(store):
    """A lost update is impossible."""
    store.put("n", b"0")

    def count():
        for _ in range(100):
            while True:
                there = store.get("n")
                if store.put("n", str(int(there.value) + 1).encode(), expected=there.revision):
                    break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("n").value == b"400"


def test_a_value_that_is_too_large_is_refused(store):
    """More than a megabyte belongs elsewhere."""
    store.put("a", bytes(1_048_576))
    with pytest.raises(ValueError, match="1,048,577 bytes"):
        store.put("a", bytes(1_048_577))
