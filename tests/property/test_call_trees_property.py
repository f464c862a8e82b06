"""Any tree of calls, in any mixture of places, comes back: whatever shares whose seat."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from jackfield import Host, function
from jackfield.executors.thread import ThreadExecutor

PATIENCE = 20.0  # seconds that only a deadlock uses up
PLACES = ("small", "tiny", "plain", "loop")

nodes = st.recursive(
    st.fixed_dictionaries({"place": st.sampled_from(PLACES), "together": st.booleans(), "below": st.just([])}),
    lambda below: st.fixed_dictionaries(
        {"place": st.sampled_from(PLACES), "together": st.booleans(), "below": st.lists(below, max_size=3)}
    ),
    max_leaves=8,
)


def size(node):
    return 1 + sum(map(size, node["below"]))


def hosted(host):
    """Register one function for each place; each counts its node and, by calling, those below."""

    async def gathered(below):
        return sum(await asyncio.gather(*(host.acall(node["place"], node) for node in below)))

    def sync(node: dict) -> int:
        if node["together"]:
            return 1 + asyncio.run(gathered(node["below"]))
        return 1 + sum(host.call(below["place"], below) for below in node["below"])

    async def loop(node: dict) -> int:
        if node["together"]:
            return 1 + await gathered(node["below"])
        return 1 + sum([await host.acall(below["place"], below) for below in node["below"]])

    for place in ("small", "tiny"):

        def there(node: dict) -> int:
            return sync(node)

        host.register(place, function(executor=place)(there))
    host.register("plain", sync)
    host.register("loop", loop)


@settings(max_examples=40, deadline=None)
@given(st.lists(nodes, min_size=1, max_size=6), st.integers(1, 3))
def test_every_tree_of_calls_comes_back(trees, seats):
    """Functions of the pool that call others that run there do not wait for each other for ever."""
    small, tiny = ThreadExecutor(seats=seats), ThreadExecutor(seats=1)
    with (
        Host(observers=(), executors={"small": small, "tiny": tiny}) as host,
        ThreadPoolExecutor(len(trees)) as pool,
    ):
        hosted(host)
        calls = [pool.submit(host.call, tree["place"], tree) for tree in trees]
        assert [call.result(PATIENCE) for call in calls] == [size(tree) for tree in trees]
        for executor in (small, tiny):
            stats = executor.stats()
            assert (stats.pending, stats.busy, stats.lingering, stats.rejected) == (0, 0, 0, 0)
