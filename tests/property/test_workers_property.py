"""The files of several processes: their sum is what was counted, whatever comes, goes, dies and comes back."""

import os
import tempfile
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import values
from prometheus_client.multiprocess import MultiProcessCollector

from jackfield.errors import Outcome
from jackfield.model.call import Call
from jackfield.observe.multiprocess import Copies
from jackfield.observe.series import KEPT, CallCollector
from jackfield.testing import FakeClock

FUNCTIONS = ("a", "b")
STEPS = st.one_of(
    st.tuples(st.just("call"), st.integers(0, 1), st.sampled_from(FUNCTIONS), st.integers(1, 3)),
    st.tuples(st.just("end"), st.integers(0, 1), st.sampled_from(FUNCTIONS)),
    st.tuples(st.just("copy"), st.integers(0, 1)),
    st.tuples(st.just("die"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("wait")),
)


class Worker:
    """A process: its id, its collector, its way into the files. In it and in no other the client has its own values."""

    def __init__(self, pid, clock):
        self.pid = pid
        self.value_class = values.MultiProcessValue(lambda: pid)
        self.collector = CallCollector((0.1, 1.0), clock)
        self.copies = Copies()
        self.copies.add(self.collector)
        self.held = {}
        self.pending = 0

    def call(self, function, number):
        if function not in self.held:
            self.held[function] = self.collector.acquire((function, "1"))
        for _ in range(number):
            call = Call(function)
            self.held[function].start(call)
            self.held[function].finish(None, call, Outcome.OK, None, 0.5)
        self.pending += number

    def end(self, function):
        if self.held.pop(function, None) is not None:
            self.collector.release((function, "1"))

    def copy(self):
        with mock.patch.object(values, "ValueClass", self.value_class):
            self.copies.write()
        copied, self.pending = self.pending, 0
        return copied

    def die(self):
        self.value_class.close_all_files()


def scraped(folder):
    """Give the sums of the counter, the histogram's counts and its last buckets."""
    found = {"jackfield_calls_total": 0, "jackfield_call_duration_seconds_count": 0, "+Inf": 0}
    for metric in MultiProcessCollector(None, folder).collect():
        for sample in metric.samples:
            for key in (sample.name, sample.labels.get("le")):
                if key in found:
                    found[key] += sample.value
    return set(found.values())


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=60)
def test_the_sum_of_all_is_what_was_copied(steps):
    """Each call that was copied is counted once, for ever: no end of a series or process takes any back."""
    clock, copied = FakeClock(), 0
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"PROMETHEUS_MULTIPROC_DIR": folder}):
        workers, pids = [Worker(1, clock), Worker(2, clock)], iter(range(3, 100))
        for step in steps:
            match step:
                case ("call", number, function, calls):
                    workers[number].call(function, calls)
                case ("end", number, function):
                    workers[number].end(function)
                case ("copy", number):
                    copied += workers[number].copy()
                    assert scraped(folder) == {copied}
                case ("die", number, again):  # with what it had not copied; the id may come back
                    workers[number].die()
                    pid = workers[number].pid if again else next(pids)
                    workers[number] = Worker(pid, clock)
                case _:
                    clock.advance(KEPT / 2)
        copied += sum(worker.copy() for worker in workers)
        assert scraped(folder) == {copied}
        for worker in workers:
            worker.die()
