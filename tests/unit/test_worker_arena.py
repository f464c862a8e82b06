"""Memory that a host and a worker share: what one side writes the other reads, and nobody reads what it should not."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.workers import arena
from jackfield.workers.arena import LARGE, LARGEST, Arena, NoRoom
from jackfield.workers.messages import NOTHING, Place


@pytest.fixture
def sides():
    """Give the host's side, and the worker's."""
    descriptor = arena.make()
    both = Arena(descriptor, host=True), Arena(descriptor, host=False)
    os.close(descriptor)
    yield both
    for each in both:
        each.close()


class TestValues:
    @pytest.mark.parametrize("way", [0, 1], ids=["to the worker", "to the host"])
    @pytest.mark.parametrize(
        "value", [None, b"x" * (LARGE - 1), b"x" * LARGE, "ü" * LARGE, list(range(50_000)), {"a": b"x" * 3_000_000}]
    )
    def test_what_is_written_is_read(self, sides, way, value):
        writer, reader = sides[way], sides[1 - way]
        raw, place = writer.put(value)
        assert reader.get(raw, place) == value
        writer.free(place)

    def test_what_is_small_goes_into_the_message(self, sides):
        assert sides[0].put(b"small")[1] is None

    def test_both_halves_are_apart(self, sides):
        host, worker = sides
        down, up = host.put(b"d" * LARGE), worker.put(b"u" * LARGE)
        assert worker.get(*down) == b"d" * LARGE
        assert host.get(*up) == b"u" * LARGE

    def test_what_has_no_form_takes_no_room(self, sides):
        with pytest.raises(TypeError, match="object"):
            sides[0].put([b"x" * LARGE, object()])
        assert sides[0].put(b"x" * LARGE)[1].start == 0


class TestRoom:
    @given(st.lists(st.tuples(st.booleans(), st.integers(LARGE, 4 * LARGE), st.integers(0, 9)), max_size=30))
    def test_no_two_values_are_in_one_place(self, steps):
        descriptor = arena.make()
        host, worker = Arena(descriptor, host=True), Arena(descriptor, host=False)
        os.close(descriptor)
        there: list[tuple[bytes, Place]] = []
        for number, (frees, size, which) in enumerate(steps):
            if frees and there:
                host.free(there.pop(which % len(there))[1])
            else:
                value = bytes([number]) * size
                there.append((value, host.put(value)[1]))
            assert all(worker.get(NOTHING, place) == value for value, place in there)
        for _, place in there:
            host.free(place)
        assert host.put(b"x" * LARGE)[1].start == 0

    def test_a_value_larger_than_all_of_it_has_no_room(self, sides):
        with pytest.raises(NoRoom, match="134,217,728"):
            sides[0].put(bytes(LARGEST + 1))

    def test_what_fits_into_a_message_goes_there_when_there_is_no_room(self, sides):
        host, worker = sides
        _, all_of_it = host.put(bytes(LARGEST))
        raw, place = host.put(b"x" * 1_000_000)
        assert place is None
        assert worker.get(raw, None) == b"x" * 1_000_000
        with pytest.raises(NoRoom):
            host.put(bytes(LARGEST // 2))
        host.free(all_of_it)
        assert host.put(b"x" * 1_000_000)[1] is not None

    def test_memory_is_given_back(self, sides):
        host, _ = sides
        _, place = host.put(bytes(100_000_000))
        before = _shared()
        host.free(place)
        assert before - _shared() > 80_000_000


class TestHarm:
    @pytest.mark.parametrize(
        "place",
        [
            Place(-1, 10, bare=False),
            Place(0, -1, bare=True),
            Place(0, LARGEST + 1, bare=True),
            Place(LARGEST, 1, bare=True),
            Place(2**62, 2**62, bare=True),
            Place(-(2**63), 2**63, bare=True),
        ],
    )
    def test_a_place_elsewhere_is_refused(self, sides, place):
        with pytest.raises(ValueError, match="shared"):
            sides[0].get(NOTHING, place)

    def test_what_nobody_wrote_is_read_as_what_it_is(self, sides):
        assert sides[0].get(NOTHING, Place(0, 3, bare=True)) == b"\0\0\0"
        with pytest.raises((ValueError, msgspec.MsgspecError)):
            sides[0].get(NOTHING, Place(0, 3, bare=False))

    def test_nobody_can_take_it_away_under_a_reader(self):
        descriptor = arena.make()
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def test_a_place_that_is_free_already_is_left_alone(self, sides):
        _, place = sides[0].put(b"x" * LARGE)
        sides[0].free(place)
        sides[0].free(place)
        sides[0].free(None)


def _shared() -> int:
    """Count the bytes of shared memory that this process has in use."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssShmem"))
