"""Versions side by side: the precedence of the rules, stickiness, ramps, promotion and abort."""

import asyncio
import contextlib
import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import (
    Analysis,
    Call,
    Caller,
    DuplicateFunction,
    FunctionCrashed,
    FunctionNotFound,
    Host,
    PluginError,
    RouteChanged,
    Unavailable,
    current_call,
    inject,
)
from jackfield.model.draws import bucket


def answering(value):
    def function(payload: object = None):
        return value

    return function


@pytest.fixture
def host():
    with Host(observers=()) as host:
        host.register("f", answering("stable"), version="1.0.0")
        host.register("f", answering("canary"), version="1.1.0")
        yield host


def tenants(count):
    return [f"t-{number}" for number in range(count)]


def test_without_a_rule_everybody_gets_the_first_version(host):
    """A second version is there for those who ask for it."""
    assert {host.call("f", tenant=tenant) for tenant in [None, *tenants(100)]} == {"stable"}
    assert host.call("f", version="1.1.0") == "canary"
    assert host.call("f", headers={"x-version": "1.1.0"}) == "canary"
    with pytest.raises(FunctionNotFound, match=r"1\.0\.0, 1\.1\.0"):
        host.call("f", headers={"x-version": "2"})


def test_the_precedence_is_header_tenant_share(host):
    """What is asked for beats the tenant's rule, and that beats the draw."""
    host.canary("f", version="1.1.0", tenants=["vip"])
    assert host.call("f", tenant="vip") == "canary"
    assert host.call("f", tenant="vip", headers={"x-version": "1.0.0"}) == "stable"
    assert host.call("f", tenant="vip", version="1.0.0") == "stable"
    assert host.call("f", tenant="other") == "stable"
    assert host.call("f") == "stable"


def test_a_share_is_sticky_by_tenant_and_ramping_only_adds(host):
    """A tenant that is in stays in while the share grows; the parts are about right."""
    canary = host.canary("f", version="1.1.0", share=0.0)
    before = set()
    for share in (0.05, 0.2, 0.5, 1.0):
        canary.ramp(share)
        now = {tenant for tenant in tenants(2_000) if host.call("f", tenant=tenant) == "canary"}
        assert before <= now
        assert abs(len(now) / 2_000 - share) < 0.05
        assert now == {tenant for tenant in tenants(2_000) if host.call("f", tenant=tenant) == "canary"}
        before = now
    canary.ramp(0.0)
    assert {host.call("f", tenant=tenant) for tenant in tenants(100)} == {"stable"}


def test_calls_without_tenant_are_drawn_one_by_one(host):
    """About the share of them goes to the canary."""
    host.canary("f", version="1.1.0", share=0.2)
    answers = [host.call("f") for _ in range(4_000)]
    assert abs(answers.count("canary") / 4_000 - 0.2) < 0.05


@given(st.text(max_size=20), st.text(st.characters(codec=None), max_size=20))
def test_a_bucket_depends_on_the_names_alone(salt, tenant):
    """The same number each time, in its range."""
    number = bucket(salt, tenant)
    assert number == bucket(salt, tenant)
    assert 0 <= number < 2**30


def test_a_tenant_that_has_called_goes_where_a_later_rule_sends_him(host):
    """What is remembered of him is a number, and not where he went."""
    canary = host.canary("f", version="1.1.0", share=0.5)
    went = {tenant: host.call("f", tenant=tenant) for tenant in tenants(50)}
    stable, drawn = ([tenant for tenant, answer in went.items() if answer == where] for where in ("stable", "canary"))
    canary.abort("another rule")
    host.canary("f", version="1.1.0", share=0.0, tenants=stable)
    assert {host.call("f", tenant=tenant) for tenant in stable} == {"canary"}
    assert {host.call("f", tenant=tenant) for tenant in drawn} == {"stable"}


def test_a_tenant_is_remembered_once_for_all_functions_of_a_trial_and_all_its_revisions(monkeypatch):
    """And no more of them than so many: those who come after that go where they always go, too."""
    monkeypatch.setattr("jackfield.model.draws._REMEMBERED", 100)
    with Host(observers=()) as host:
        for name, version in itertools.product(("p.a", "p.b"), "12"):
            host.register(name, answering(version), version=version, plugin="p")
        canary = host.canary("p", version="2", share=0.3)
        kept = []
        for share in (0.3, 0.5, 0.7):
            canary.ramp(share)
            went = [{tenant: host.call(name, tenant=tenant) for tenant in tenants(500)} for name in ("p.a", "p.b")]
            assert went[0] == went[1] == {tenant: host.call("p.a", tenant=tenant) for tenant in tenants(500)}
            kept += [host.snapshot.functions[name].drawn for name in ("p.a", "p.b")]
        assert len({id(each) for each in kept}) == 1
        assert len(kept[0]) == 100


def test_a_tenant_is_never_sent_back_while_threads_call_and_the_share_is_raised(host):
    """Raising only adds, in the very moment of the change as well."""
    canary = host.canary("f", version="1.1.0", share=0.1)
    ended, sent_back = threading.Event(), []

    def call():
        been = set()
        while not ended.is_set():
            for tenant in tenants(200):
                if host.call("f", tenant=tenant) == "canary":
                    been.add(tenant)
                elif tenant in been:
                    sent_back.append(tenant)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for percent in range(10, 100, 5):
        canary.ramp(percent / 100)
    ended.set()
    for thread in threads:
        thread.join()
    assert sent_back == []


def test_two_functions_draw_by_themselves_and_a_plugin_as_one():
    """Otherwise the same tenants would meet every canary."""
    with Host(observers=()) as host:
        for name in ("p.a", "p.b", "q.a", "q.b"):
            plugin = "pair" if name.startswith("p") else ""
            host.register(name, answering("stable"), version="1", plugin=plugin)
            host.register(name, answering("canary"), version="2", plugin=plugin)
        host.canary("pair", version="2", share=0.5)
        host.canary("q.a", version="2", share=0.5)
        host.canary("q.b", version="2", share=0.5)
        answers = [[host.call(n, tenant=t) for n in ("p.a", "p.b", "q.a", "q.b")] for t in tenants(200)]
        assert all(a == b for a, b, _, _ in answers)
        assert any(c != d for _, _, c, d in answers)


def test_nested_calls_stay_within_the_version_set():
    """A function of a plugin that runs in its canary calls its plugin's others in the same version."""
    seen = []

    def outer(*, caller: Caller = inject()):
        seen.append((current_call().version, caller.call("p.inner"), current_call().rule))

    with Host(observers=()) as host:
        for version in ("1", "2"):
            host.register("p.outer", outer, version=version, plugin="p")
            host.register("p.inner", answering(version), version=version, plugin="p")
        host.canary("p", version="2", share=0.5)
        for _ in range(100):
            host.call("p.outer")
        host.call("p.outer", version="2")
        host.call("p.outer", headers={"x-version": "2"})
        assert {(version, inner) for version, inner, _ in seen} == {("1", "1"), ("2", "2")}
        assert {rule for _, _, rule in seen} == {"", "share", "asked", "header"}


def test_promote_moves_the_default_and_abort_moves_back(host):
    """One swap each, and an event; the other version stays, to roll back to."""
    changes = []
    host.events.subscribe(RouteChanged, lambda event: changes.append((event.name, event.default)))
    before = host.snapshot.revision
    canary = host.canary("f", version="1.1.0", share=0.5)
    canary.abort("enough")
    assert canary.status.state.value == "aborted"
    assert canary.status.reason == "enough"
    assert host.snapshot.revision == before + 2
    assert {host.call("f", tenant=tenant) for tenant in tenants(100)} == {"stable"}
    canary = host.canary("f", version="1.1.0", share=0.5)
    canary.promote()
    assert {host.call("f", tenant=tenant) for tenant in tenants(100)} == {"canary"}
    host.rollback(before)
    assert {host.call("f", tenant=tenant) for tenant in tenants(100)} == {"stable"}
    assert changes[-1] == ("f", "1.0.0")


@pytest.mark.parametrize("share", [1.4, -0.1, float("nan")])
def test_a_share_must_be_a_part_of_one(host, share):
    """140 % is refused with the way to write 20 %."""
    with pytest.raises(ValueError, match=r"20 % is 0\.2"):
        host.canary("f", version="1.1.0", share=share)


def test_what_cannot_be_under_trial_is_refused(host):
    """Unknown names and versions, the default, a second trial, one that has ended."""
    with pytest.raises(FunctionNotFound, match="did you mean 'f'"):
        host.canary("ff", version="1.1.0", share=0.1)
    with pytest.raises(FunctionNotFound, match=r"1\.0\.0, 1\.1\.0"):
        host.canary("f", version="3", share=0.1)
    with pytest.raises(PluginError, match="default already"):
        host.canary("f", version="1.0.0", share=0.1)
    canary = host.canary("f", version="1.1.0", share=0.1)
    with pytest.raises(PluginError, match="under trial already"):
        host.canary("f", version="1.1.0", share=0.1)
    canary.promote()
    with pytest.raises(PluginError, match="has ended"):
        canary.abort()


def test_no_call_is_lost_while_versions_come_and_go(host):
    """Four threads call while the default is moved back and forth, versions are removed, and functions rewired."""
    failures, done = [], threading.Event()

    def call():
        while not done.is_set():
            try:
                assert host.call("f") in {"stable", "canary", "next"}
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is a lost call
                failures.append(error)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for number in range(50):
        canary = host.canary("f", version="1.1.0", share=0.5)
        canary.ramp(0.9)
        canary.abort()
        with host.update() as tx:
            tx.unregister("f")
            tx.register("f", answering("next"), version=f"2.{number}")
        with host.update() as tx:
            tx.unregister("f")
            tx.register("f", answering("stable"), version="1.0.0")
            tx.register("f", answering("canary"), version="1.1.0")
    done.set()
    for caller in callers:
        caller.join()
    assert failures == []


def test_a_call_in_flight_finishes_on_its_own_version(host):
    """Its endpoint is retired under it, and drains when it ends."""
    entered, gate = threading.Event(), threading.Event()

    def slow():
        entered.set()
        gate.wait(10)
        return "old"

    host.register("slow", slow, version="1")
    endpoint = host.snapshot.routes["slow"].endpoints["1"]
    answers = []
    caller = threading.Thread(target=lambda: answers.append(host.call("slow")))
    caller.start()
    entered.wait(10)
    with host.update() as tx:
        tx.unregister("slow")
        tx.register("slow", answering("new"), version="2")
    assert host.call("slow") == "new"
    assert [call.name for call in endpoint.gate.calls] == ["slow"]
    assert endpoint.gate.drain(0.01) is False
    gate.set()
    assert endpoint.gate.drain(10) is True
    caller.join()
    assert answers == ["old"]


def test_a_call_that_finds_its_endpoint_retired_goes_to_the_current_one(host):
    """The look-up came before the swap, the entry after it: sync, async and threaded."""

    async def old():
        return "old"

    async def new():
        return "new"

    host.register("a", old, version="1")
    stale = [host.snapshot.routes["f"].stable, host.snapshot.routes["a"].stable]
    with host.update() as tx:
        tx.unregister("f")
        tx.register("f", answering("next"), version="9")
        tx.unregister("a")
        tx.register("a", new, version="9")
    assert stale[0].run(Call("f", version="1.0.0")) == "next"
    assert asyncio.run(_await(stale[0].arun(Call("f", version="1.0.0")))) == "next"
    assert stale[1].run(Call("a", version="1")) == "new"
    host.unregister("f")
    with pytest.raises(FunctionNotFound):
        stale[0].run(Call("f", version="1.0.0"))


async def _await(awaitable):
    return await awaitable


def eager():
    return Analysis(steps=(0.5,), looks=2, samples=60, interval=0.0, risk=0.05)


def drive(host, canary):
    """Call until the canary has ended."""
    for number in itertools.count():
        if canary.status.state.value != "running":
            return
        with contextlib.suppress(FunctionCrashed):
            host.call("f", tenant=f"t-{number}")
        assert number < 2_000_000


def test_a_bad_canary_rolls_itself_back_under_load(host):
    """A version that fails a third of its calls is aborted by the analysis, with the figures as the reason."""
    count = itertools.count()

    def bad(payload: object = None):
        if next(count) % 3 == 0:
            raise ValueError
        return "bad"

    host.register("f", bad, version="2.0.0")
    canary = host.canary("f", version="2.0.0", analysis=eager())
    assert canary.status.share == 0.5
    drive(host, canary)
    assert canary.status.state.value == "aborted"
    assert "error" in canary.status.reason
    assert {host.call("f", tenant=tenant) for tenant in tenants(100)} == {"stable"}


def test_a_good_canary_is_promoted_in_steps(host):
    """Nothing is found in any look of any step, so the default moves."""
    canary = host.canary("f", version="1.1.0", analysis=eager())
    drive(host, canary)
    assert canary.status.state.value == "promoted"
    assert {host.call("f", tenant=tenant) for tenant in tenants(100)} == {"canary"}


def test_a_canary_without_calls_holds(host):
    """No data is no proof: the analysis looks, says what it waits for, and decides nothing."""
    canary = host.canary("f", version="1.1.0", analysis=eager())
    while "waits for calls" not in canary.status.reason:
        threading.Event().wait(0.01)
    assert canary.status.state.value == "running"
    canary.abort()


def test_a_rollback_brings_no_canary_back(host):
    """Nobody could end it."""
    canary = host.canary("f", version="1.1.0", share=1.0)
    during = host.snapshot.revision
    canary.abort()
    host.rollback(during)
    assert host.call("f", tenant="t") == "stable"
    host.canary("f", version="1.1.0", share=0.1).abort()


def test_a_canary_of_a_function_that_has_gone_can_still_be_aborted(host):
    """It has ended with the function, and says so."""
    canary = host.canary("f", version="1.1.0", analysis=eager())
    host.unregister("f")
    assert canary.status.state.value == "aborted"
    assert "version 1.1.0 has gone" in canary.status.reason
    canary.abort()
    with pytest.raises(PluginError, match=r"has ended: aborted .*has gone"):
        canary.ramp(0.5)
    host.register("f", answering("stable"), version="1.0.0")
    host.register("f", answering("canary"), version="1.1.0")
    again = host.canary("f", version="1.1.0", analysis=eager())
    assert host.canaries == (canary, again)


def test_an_analysis_ends_with_its_host_and_leaves_the_routes(host):
    """Its looks are timers of the host's control loop."""
    canary = host.canary("f", version="1.1.0", analysis=eager())
    host.stop()
    assert canary.status.state.value == "running"
    assert host._functions.state.wiring.watchers == {}


def test_a_canary_that_ends_takes_no_other_ones_samples_away(host):
    """The next trial of the same stable version keeps its tally, whenever the last one is released."""
    first = host.canary("f", version="1.1.0", analysis=eager())
    first.abort()
    second = host.canary("f", version="1.1.0", analysis=eager())
    first.release()
    drive(host, second)
    assert second.status.state.value == "promoted"


def test_recompiling_is_no_revision_and_spends_no_history(host):
    """Overrides, providers and the tallies of an analysis leave revision and history alone, and calls see them."""

    class Clock: ...

    def needs(*, clock: Clock = inject()):
        return clock

    host.provide(Clock(), type=Clock)
    host.register("needs", needs)
    before, kept = host.snapshot.revision, host.revisions
    fake = Clock()
    for _ in range(20):
        with host.override({Clock: fake}):
            assert host.call("needs") is fake
    host.provide("a value", name="of no interest")
    assert (host.snapshot.revision, host.revisions) == (before, kept)
    canary = host.canary("f", version="1.1.0", analysis=eager())
    assert host.snapshot.revision == before + 1
    canary.abort()
    assert host.snapshot.revision == before + 2


def test_overrides_of_several_threads_are_independent(host):
    """Each leaves when it likes and takes its own objects alone with it."""

    class Clock: ...

    class Engine: ...

    def needs(*, clock: Clock = inject(), engine: Engine = inject()):
        return clock, engine

    clock, engine = Clock(), Engine()
    host.provide(Clock(), type=Clock)
    host.provide(Engine(), type=Engine)
    host.register("needs", needs)
    entered, leave = threading.Event(), threading.Event()

    def first():
        with host.override({Clock: clock}):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(30)
    with host.override({Engine: engine}):
        assert host.call("needs") == (clock, engine)
        leave.set()
        thread.join(30)
        assert host.call("needs")[0] is not clock
        assert host.call("needs")[1] is engine
    assert host.call("needs")[1] is not engine


def test_a_promoted_default_comes_back_with_its_version(host):
    """What was decided is about the version: it holds again when that is registered again."""
    host.canary("f", version="1.1.0", share=0.5).promote()
    with host.update() as tx:
        tx.unregister("f")
    host.register("f", answering("stable"), version="1.0.0")
    assert host.call("f") == "stable"
    host.register("f", answering("canary"), version="1.1.0")
    assert host.call("f") == "canary"


@pytest.mark.parametrize("end", ["unregister", "unregister all", "rollback"])
def test_a_canary_ends_in_the_swap_in_which_its_version_goes(host, end):
    """No snapshot has a canary that runs with a version that is not there; its status says why it ended."""
    before = host.snapshot.revision
    host.register("g", answering("1"), version="1")
    host.register("g", answering("2"), version="2")
    canary = host.canary("g", version="2", share=0.5)
    seen = []
    host.events.subscribe(RouteChanged, lambda event: seen.append((event.name, event.revision)))
    if end == "rollback":
        host.rollback(before)
    else:
        host.unregister("g", version="2" if end == "unregister" else None)
    (status,) = host.snapshot.canaries
    assert status == canary.status
    assert status.state.value == "aborted"
    assert ("rollback to revision" if end == "rollback" else "has gone") in status.reason
    canary.abort()
    if end == "unregister":
        assert seen == [("g", host.snapshot.revision)]
        assert {host.call("g") for _ in range(50)} == {"1"}


def test_canaries_meet_what_takes_their_version_away(host):
    """Two threads: whatever comes first, the errors are the documented ones, and nothing runs without its version."""
    problems, done = [], threading.Event()

    def flip():
        while not done.is_set():
            with contextlib.suppress(PluginError, DuplicateFunction):  # promoted, it stays until it is rerouted
                host.register("g", answering("2"), version="2")
                host.unregister("g", version="2")

    def watch():
        while not done.is_set():
            snapshot = host.snapshot
            running = [status for status in snapshot.canaries if status.state.value == "running"]
            problems.extend(status for status in running if status.version not in snapshot.routes["g"].endpoints)

    host.register("g", answering("1"), version="1")
    threads = [threading.Thread(target=each) for each in (flip, watch)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        try:
            canary = host.canary("g", version="2", share=0.5)
            canary.promote()
            host.reroute("g", default="1")
        except (FunctionNotFound, PluginError):
            pass
    done.set()
    for thread in threads:
        thread.join(30)
    assert problems == []


def test_a_version_of_a_stopped_plugin_is_unavailable_and_not_unknown(tmp_path):
    """Whether a call names it or a canary is to try it, beside another version that serves."""
    for name in "ab":
        (tmp_path / f"{name}.py").write_text(f"def f() -> str: return {name!r}\n", encoding="utf-8")
    text = "".join(
        f'[[plugin]]\nname = "{name}"\npath = "./{name}.py"\nversion = "{version}"\n[plugin.functions]\n"k.f" = "f"\n'
        for name, version in (("a", 1), ("b", 2))
    )
    (tmp_path / "jackfield.toml").write_text(text, encoding="utf-8")
    with Host.from_config(tmp_path / "jackfield.toml", observers=()) as host:
        host.stop_plugin("b")
        assert host.call("k.f") == "a"
        for attempt in (lambda: host.call("k.f", version="2"), lambda: host.canary("k.f", version="2")):
            with pytest.raises(Unavailable, match="'b' is stopped"):
                attempt()
        with pytest.raises(FunctionNotFound, match="no version '3'"):
            host.call("k.f", version="3")
        host.stop_plugin("a")
        with pytest.raises(Unavailable, match="'b' is stopped"):
            host.canary("k.f", version="2")
