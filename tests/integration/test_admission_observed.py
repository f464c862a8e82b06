"""What admission does is in the metrics: submit, enqueue or reject, dispatch, executor; by tenant, bounded."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from tests.integration.test_admission import FILE, PLUGIN, begin, fill, of
from tests.support.in_workers import until

from jackfield import Host, Metrics, ResourceExhausted
from jackfield.model.admitted import AdmissionStats, TenantStats
from jackfield.model.stored import Durations
from jackfield.observe.admitted import OTHERS, TENANTS

QUEUE = {"queue_type": "admission", "priority": "normal"}
LOW = QUEUE | {"priority": "low"}


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def host(tmp_path, registry):
    (tmp_path / "slow.py").write_text(PLUGIN)
    (tmp_path / "jackfield.toml").write_text(FILE + '[tenants.idle]\npriority = "low"\n')
    with Host.from_config(tmp_path / "jackfield.toml", observers=[Metrics(registry)]) as host:
        yield host
        host.call("slow.open")


def names(registry):
    return {family.name for family in registry.collect()}


def refuse(host, tenant, **named):
    with pytest.raises(ResourceExhausted):
        host.call("slow.quick", tenant=tenant, **named)


def test_each_step_of_a_call_is_counted(host, registry):
    """What came is what was let into the queue or refused; what was let in waits, or has had its turn."""
    value = registry.get_sample_value
    ends, threads = fill(host, "sync", "slow.hold")  # 30 of one tenant, some of which wait
    begin(host, "sync", "slow.hold", "few", 2)
    until(lambda: of(host, "few").inside + of(host, "few").waiting == 2)
    refuse(host, "few")
    waiting = value("scheduler_pending_tasks", {"queue_type": "admission"})
    dispatched = value("scheduler_task_dispatched_total", QUEUE)
    assert value("scheduler_task_submitted_total", QUEUE) == 33
    assert value("scheduler_task_enqueued_total", QUEUE) == 32 == waiting + dispatched
    assert value("scheduler_task_rejected_total", QUEUE) == 1
    assert value("scheduler_executors", {"queue_type": "admission", "state": "busy"}) == dispatched
    assert value("scheduler_executors", {"queue_type": "thread", "state": "busy"}) is not None
    assert value("scheduler_admission_rejected_total", {"tenant": "few", "reason": "concurrency"}) == 1
    assert value("scheduler_admission_calls", {"tenant": "plain", "state": "waiting"}) > 3
    assert value("scheduler_task_submitted_total", LOW) == 0
    host.call("slow.open")
    for thread in threads:
        thread.join(60.0)
    assert ends == ["held"] * 30
    assert value("scheduler_pending_tasks", {"queue_type": "admission"}) == 0
    assert value("scheduler_admission_admitted_total", {"tenant": "plain"}) == 30
    assert value("scheduler_admission_wait_seconds_count", {"tenant": "plain"}) == 30
    assert value("scheduler_admission_wait_seconds_sum", {"tenant": "plain"}) > 0.0
    assert value("scheduler_admission_seconds_total", {"tenant": "plain"}) > 0.0


def test_who_leaves_or_is_shed_after_it_has_waited_was_in_the_queue(host, registry):
    """So that what is in the queue and what has left it add up."""
    value = registry.get_sample_value
    fill(host, "sync", "slow.hold")
    with pytest.raises(Exception, match=r"slow\.hold"):
        host.call("slow.hold", tenant="heavy", timeout=0.1)
    until(lambda: of(host, "heavy").waiting == 0)
    assert value("scheduler_admission_rejected_total", {"tenant": "heavy", "reason": "deadline"}) == 1
    assert of(host, "heavy").enqueued == 1
    assert value("scheduler_admission_admitted_total", {"tenant": "heavy"}) == 0


def test_what_is_due_is_there_before_any_call(host, registry):
    """`increase` does not see a series come into being; whom nothing is due has none until it calls."""
    value = registry.get_sample_value
    assert value("scheduler_admission_weight", {"tenant": "heavy"}) == 4.0
    assert value("scheduler_admission_reserved_seats", {"tenant": "kept"}) == 3
    assert value("scheduler_admission_rejected_total", {"tenant": "few", "reason": "rate"}) == 0
    assert value("scheduler_admission_weight", {"tenant": "plain"}) is None
    assert value("scheduler_admission_limit") >= 1
    assert value("scheduler_admission_function_limit", {"function": "slow.quick", "version": "0"}) >= 1


def test_calls_of_low_priority_are_counted_as_such(host, registry):
    """By the label that the queue's metrics have."""
    assert host.call("slow.quick", tenant="idle") == "quick"
    assert registry.get_sample_value("scheduler_task_submitted_total", LOW) == 1
    assert registry.get_sample_value("scheduler_task_enqueued_total", LOW) == 1
    assert registry.get_sample_value("scheduler_task_submitted_total", QUEUE) == 0


def test_without_shares_there_is_nothing_of_it(tmp_path, registry):
    """Until an apply brings some; and what was counted stays when they go."""
    (tmp_path / "slow.py").write_text(PLUGIN)
    file = tmp_path / "jackfield.toml"
    file.write_text(FILE.split("[tenants", maxsplit=1)[0])
    with Host.from_config(file, observers=[Metrics(registry)]) as host:
        host.call("slow.quick")
        assert not {name for name in names(registry) if "admission" in name or "submitted" in name}
        assert registry.get_sample_value("scheduler_task_enqueued_total", QUEUE) is None
        file.write_text(FILE)
        assert host.apply(file).ok
        host.call("slow.quick", tenant="kept")
        assert registry.get_sample_value("scheduler_admission_admitted_total", {"tenant": "kept"}) == 1


def test_what_was_counted_stays_when_a_host_stops_and_is_not_counted_twice_when_it_starts_again(host, registry):
    """A counter never falls, and nobody waits in a host that is stopped."""
    value = registry.get_sample_value
    for _ in range(3):
        host.call("slow.quick", tenant="kept")
    host.stop()
    assert value("scheduler_admission_admitted_total", {"tenant": "kept"}) == 3
    assert value("scheduler_admission_calls", {"tenant": "kept", "state": "inside"}) == 0
    host.start()
    host.call("slow.quick", tenant="kept")
    assert value("scheduler_admission_admitted_total", {"tenant": "kept"}) == 4


def test_tenants_are_bounded_and_no_series_ever_falls(registry):
    """The first hundred have series of their own; a later one is with the others, whatever the order of later looks."""
    tenants = {}

    def stats():
        return AdmissionStats(8, 0, dict(tenants), {})

    Metrics(registry).watch_admission(stats)
    for number in range(TENANTS + 50):
        tenants[f"t{number}"] = one(number)
    first = admitted(registry)
    assert len(first) == TENANTS + 1
    assert first[OTHERS] == sum(range(TENANTS, TENANTS + 50))
    for name in reversed(list(tenants)):
        tenants[name] = tenants.pop(name)
    tenants["new"] = one(7)
    later = admitted(registry)
    assert later.keys() == first.keys()
    assert all(later[name] >= first[name] for name in first)
    assert later[OTHERS] == first[OTHERS] + 7
    assert generate_latest(registry)


def one(number):
    return TenantStats(1.0, 0, 0, 0, number, {}, 0.0, Durations((number, *[0] * 14), 0.0))


def admitted(registry):
    return {
        sample.labels["tenant"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "scheduler_admission_admitted_total"
    }
