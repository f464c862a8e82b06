"""Whole calls are kept in memory: all that went wrong lately and the slowest, sampled or not, as trees."""

import asyncio
import gc
import json
import sys
import threading
import weakref
from contextlib import suppress

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from prometheus_client import CollectorRegistry
from tests.integration.test_cli_apply import Served
from tests.support.in_workers import apart, until

from jackfield import Caller, FunctionCrashed, Host, Metrics, Rejected, Spans, deadline, function, inject
from jackfield.model import seen
from jackfield.observe import traces
from jackfield.operations import verbs
from jackfield.testing import Recorder


def price(item: str) -> int:
    return len(item)


def refuse() -> None:
    raise Rejected("a secret", code="closed")


def crash(item: str = "") -> None:
    raise ValueError("a secret")


def buy(item: str, *, call: Caller = inject()) -> int:
    with deadline(60.0):
        return call.call("shop.price", item)


def careless(item: str, *, call: Caller = inject()) -> int:
    """Call what crashes, and say nothing of it."""
    call.call("shop.price", item)
    with suppress(FunctionCrashed):
        call.call("shop.crash", item)
    return 0


def fan(number: int, *, call: Caller = inject()) -> int:
    for _ in range(number):
        call.call("shop.price", "x")
    return number


def descend(depth: int, *, call: Caller = inject()) -> int:
    return depth and call.call("shop.descend", depth - 1)


FUNCTIONS = {
    "price": price, "refuse": refuse, "crash": crash, "buy": buy, "careless": careless, "fan": fan, "descend": descend,
}  # fmt: skip


@pytest.fixture
def host():
    with Host(observers=[Recorder()]) as host:
        for name, target in FUNCTIONS.items():
            host.register(f"shop.{name}", target, plugin="shop")
        host.register("math.add", lambda: 1, plugin="maths")
        yield host


def kept(host, **asked):
    return verbs(host)["trace"](asked)


def attempt(host, name, *arguments, **named):
    try:
        host.call(name, *arguments, **named)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is kept
        return error
    return None


def shape(node):
    """Give a tree as its names, outcomes and branches."""
    return (node["name"], node.get("outcome", ""), *map(shape, node.get("below", ())))


def test_a_call_that_went_wrong_is_kept_whole(host):
    """With the calls in its body, in their order; what `deadline()` opens is no call."""
    attempt(host, "shop.careless", "tea", tenant="t-1")
    attempt(host, "shop.buy", 17)
    bad, careless = kept(host, errors=True)
    assert shape(careless["tree"]) == (
        "shop.careless", "ok", ("shop.price", "ok"), ("shop.crash", "crashed"),
    )  # fmt: skip
    assert (careless["kept"], careless["tenant"], careless["plugin"], careless["outcome"]) == (
        "error",
        "t-1",
        "shop",
        "ok",
    )
    crashed = careless["tree"]["below"][1]
    assert crashed["error_type"] == "ValueError"
    assert 0.0 <= crashed["start_ms"] <= careless["ms"]
    assert (bad["function"], bad["outcome"]) == ("shop.buy", "invalid_payload")


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["math.add", "shop.crash", "shop.nix", "shop.buy"]),
        ({"errors": True}, ["shop.crash", "shop.nix"]),
        ({"slow": True}, ["math.add", "shop.buy"]),
        ({"errors": True, "slow": True}, ["math.add", "shop.crash", "shop.nix", "shop.buy"]),
        ({"plugin": "maths"}, ["math.add"]),
        ({"plugin": "shop.price"}, ["shop.buy"]),
        ({"plugin": "shop", "errors": True}, ["shop.crash"]),
        ({"tenant": "t-1"}, ["shop.crash"]),
        ({"tenant": "nobody"}, []),
        ({"limit": 2}, ["math.add", "shop.crash"]),
    ],
)
def test_what_is_looked_for_is_found(host, asked, names):
    """The latest first; a plugin is looked for in the whole tree."""
    for name, payload, tenant in (
        ("shop.buy", "tea", None), ("shop.nix", None, None), ("shop.crash", None, "t-1"), ("math.add", None, None)
    ):  # fmt: skip
        attempt(host, name, payload, tenant=tenant)
    found = [each["function"] for each in kept(host, **asked)]
    assert sorted(found) == sorted(names) if asked.get("slow") else found == names


def test_a_call_is_found_by_its_id_and_by_its_trace(host):
    """The beginning is enough."""
    error = attempt(host, "shop.crash")
    assert error is not None
    (found,) = kept(host)
    assert len(found["id"]) == 32
    assert found["trace_id"] == ""
    assert kept(host, identifier=found["id"][:8].upper()) == [found]
    assert kept(host, identifier="zz") == []


@pytest.mark.parametrize("sampler", [None, ParentBased(root=ALWAYS_OFF)])
def test_sampled_or_not_a_call_is_kept_with_its_trace(sampler):
    """As in its log record."""
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    with Host(observers=[Spans(provider)]) as host:
        host.register("shop.crash", crash)
        attempt(host, "shop.crash")
        (found,) = kept(host)
        assert len(found["trace_id"]) == 32
        assert kept(host, identifier=found["trace_id"]) == [found]


def test_the_slowest_of_each_function_are_kept(host):
    """Of a window, which a later one follows; the quick ones are not."""
    gate = threading.Event()

    def wait(seconds: float) -> None:
        gate.wait(seconds)

    host.register("shop.wait", wait)
    for number in range(50):
        host.call("shop.wait", 0.3 if number in {7, 40} else 0.001)
    found = kept(host, slow=True)
    assert len(found) == traces.SLOWEST
    assert all(each["ms"] >= 300.0 for each in found[:2])
    assert [each["ms"] for each in found] == sorted((each["ms"] for each in found), reverse=True)


def test_what_was_slow_a_while_ago_goes(monkeypatch):
    """With each window the one before the last."""
    monkeypatch.setattr(traces, "WINDOW", 0.0)
    with Host(observers=[Recorder()]) as host:
        host.register("shop.price", price)
        for _ in range(20):
            host.call("shop.price", "x")
        assert len(kept(host)) == 2


def test_a_flood_of_refusals_pushes_out_no_crash(host):
    """Each outcome has room of its own."""
    attempt(host, "shop.crash")
    for _ in range(3 * traces.FAILED):
        attempt(host, "shop.refuse")
    found = kept(host, errors=True, limit=1000)
    assert [each["outcome"] for each in found].count("crashed") == 1
    assert len(found) == traces.FAILED + 1


def test_slow_calls_have_a_bound_together(monkeypatch):
    """Beyond it those of functions go that were slow longest ago."""
    monkeypatch.setattr(traces, "NODES", 10)
    with Host(observers=[Recorder()]) as host:
        for number in range(30):
            host.register(f"shop.f{number}", lambda: 1)
            host.call(f"shop.f{number}")
        assert [each["function"] for each in kept(host, limit=1000)] == [f"shop.f{n}" for n in range(29, 19, -1)]


@pytest.mark.parametrize(("name", "number"), [("fan", 1_000), ("descend", 150)])
def test_a_call_with_very_many_within_it_is_kept_in_part(host, name, number):
    """And what is left out is counted."""
    assert host.call(f"shop.{name}", number, timeout=60.0) in (0, number)

    def count(node):
        return 1 + node.get("lost", 0) + sum(map(count, node.get("below", ())))

    (found,) = kept(host, plugin=f"shop.{name}", slow=True)
    assert count(found["tree"]) == number + 1
    assert json.dumps(found).count('"kind"') <= 2 * seen.CALLS


def test_nothing_of_a_call_is_kept_but_its_names_and_times():
    """No payload, no text of an error; and what it referred to is free again."""

    class Item(str):
        __slots__ = ("__weakref__",)

    host = Host(observers=[Metrics(CollectorRegistry())])
    host.register("shop.careless", careless)
    host.register("shop.price", price)
    host.register("shop.crash", crash)
    host.start()
    item = Item("a secret")
    gone = weakref.ref(item)
    attempt(host, "shop.careless", item)
    del item
    until(lambda: gc.collect() is not None and gone() is None)
    assert "secret" not in json.dumps(kept(host))
    host.stop()


def test_waiting_for_a_thread_is_part_of_it():
    """Also of a call that got none in time."""
    gate = threading.Event()

    @function(executor="thread")
    def hold() -> None:
        gate.wait(60.0)

    with Host(observers=[Recorder()]) as host:
        host.register("slow.hold", hold)
        threads = [threading.Thread(target=attempt, args=(host, "slow.hold")) for _ in range(41)]
        for thread in threads:
            thread.start()
        until(lambda: host.executors["thread"].pending)
        assert attempt(host, "slow.hold", timeout=0.2) is not None
        gate.set()
        for thread in threads:
            thread.join(60.0)
        (queue,) = kept(host, errors=True)[0]["tree"]["below"]
        assert (queue["kind"], queue["name"]) == ("queue", "thread")
        assert queue["ms"] >= 100.0


def test_a_turn_that_was_waited_for_is_shown(tmp_path):
    """Of the calls that did not get it as well."""
    gate = threading.Event()

    def hold() -> None:
        gate.wait(60.0)

    file = tmp_path / "jackfield.toml"
    file.write_text("[tenants.t]\nweight = 2.0\n[tenants.u]\n")
    with Host.from_config(file, observers=[Recorder()]) as host:
        host.register("slow.hold", hold)
        threads = [
            threading.Thread(target=attempt, args=(host, "slow.hold"), kwargs={"tenant": "u"}) for _ in range(30)
        ]
        for thread in threads:
            thread.start()
        until(lambda: host.admission.tenants["u"].waiting if "u" in host.admission.tenants else 0)
        assert attempt(host, "slow.hold", tenant="t", timeout=0.2) is not None
        gate.set()
        for thread in threads:
            thread.join(60.0)
        (found,) = kept(host, tenant="t")
        (queue,) = found["tree"]["below"]
        assert (queue["kind"], queue["name"]) == ("queue", "admission")
        assert queue["ms"] >= 100.0


def test_async_calls_are_kept_as_sync_ones(host):
    """Also those within one that was gathered."""

    async def both(*, call: Caller = inject()) -> None:
        await asyncio.gather(call.acall("shop.price", "a"), call.acall("shop.crash", "b"))

    host.register("shop.both", both, plugin="shop")
    attempt(host, "shop.both")
    found = kept(host, errors=True)[0]
    assert set(shape(found["tree"])[2:]) == {("shop.price", "ok"), ("shop.crash", "crashed")}


def test_a_host_that_observes_nothing_keeps_nothing_and_says_so():
    """Its calls have no times."""
    with Host(observers=()) as host:
        host.register("shop.crash", crash)
        attempt(host, "shop.crash")
        assert host.traces is None
        with pytest.raises(Rejected, match="observes no calls"):
            kept(host)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers")
def test_a_call_in_a_worker_shows_its_process_and_what_it_called(tmp_path):
    """Nested calls come back to the host, and are below the process that made them."""
    code = """
        from jackfield import Caller, function, inject

        @function
        def outer(*, call: Caller = inject()) -> int:
            call.call("apart.inner")
            raise ValueError("no")

        @function
        def inner() -> int:
            return 1
    """
    with apart(tmp_path, code, "[plugin.worker]\nallow = ['calls:apart.*']", observers=[Recorder()]) as host:
        attempt(host, "apart.outer", timeout=60.0)
        found = kept(host, errors=True)[0]
        worker = next(each for each in found["tree"]["below"] if each["kind"] == "worker")
        assert worker["pid"] in {each.pid for each in host.workers}
        assert [each["name"] for each in worker["below"]] == ["apart.inner"]


@pytest.mark.slow
def test_pluginctl_shows_them_as_trees(tmp_path):
    """And as JSON, and says when there are none."""
    served = Served(tmp_path)
    code = "from jackfield import function\n@function\ndef boom() -> int:\n    raise ValueError('a secret')\n"
    (tmp_path / "a.py").write_text(code)
    served.start()
    try:
        assert "no such call is kept" in served.ctl("trace", "--errors").stderr
        served.ctl("call", "a.boom", "--running", code=1)
        assert "crashed: ValueError" in served.ctl("trace", "--errors").stdout
        (found,) = json.loads(served.ctl("trace", "--errors", "--plugin", "a", "--json").stdout)
        assert found["outcome"] == "crashed"
        assert found["id"][:8] in served.ctl("trace", "--id", found["id"][:8]).stdout
        served.ctl("trace", "--limit", "0", code=2)
    finally:
        served.close()
