"""Events of plugins in workers: published to the host and to other workers, and handled there, within the grants."""

import asyncio
from queue import SimpleQueue

import attrs
import pytest
from tests.support.apart import PATIENCE, apart, needs_workers, until, written

from jackfield import FunctionCrashed, Host

pytestmark = needs_workers

CODE = """
import attrs, datetime as dt
from jackfield import EventBus, function, inject

@attrs.frozen
class Paid:
    order: int
    on: dt.date = dt.date(2026, 11, 26)

@attrs.frozen
class Bad:
    what: object

@function
def pay(order: int, bus: EventBus = inject()) -> int:
    return bus.publish(Paid(order))

@function
async def apay(order: int, bus: EventBus = inject()) -> int:
    return await bus.apublish(Paid(order))

@function
def bad(bus: EventBus = inject()) -> int:
    return bus.publish(Bad(lambda: 1))
"""
LISTENER = """
import attrs, os
from jackfield import EventBus, function, inject

@attrs.frozen
class Paid:
    order: int

Paid.__module__ = "{module}"
seen = []

def note(paid: Paid) -> None:
    if paid.order < 0:
        raise ValueError("negative")
    seen.append(paid.order)

@attrs.define
class Plugin:
    bus: EventBus = inject()
    subscription: object = None

    def start(self):
        self.subscription = self.bus.subscribe(Paid, note)

    @function
    def heard(self) -> list[int]:
        return seen

    @function
    def counts(self) -> list[int]:
        return [self.subscription.delivered, self.subscription.failed]

    @function
    def leave(self) -> None:
        os._exit(3)

    @function
    def cancel(self) -> None:
        self.subscription.cancel()
"""


def paid(module="apart"):
    """Give a class of this process that has the name of the plugin's."""
    made = attrs.make_class("Paid", {"order": attrs.field(type=int)}, frozen=True)
    made.__module__ = module
    return made


def listener(folder, module="apart", more="", name="apart"):
    """Write a plugin that listens, as an object of a file."""
    file = written(folder, LISTENER.format(module=module), more, name=name)
    text = file.read_text("utf-8").replace(f"./{name}.py", f"./{name}.py:Plugin")
    file.write_text(text, "utf-8")
    return file


def test_an_event_is_rebuilt_for_those_who_have_a_type_of_its_name(tmp_path):
    """Others, who listen to everything, get a value of that type, too."""
    kind, seen, all_of_them = paid(), SimpleQueue(), SimpleQueue()
    with apart(tmp_path, CODE) as host:
        host.events.subscribe(kind, seen.put)
        host.events.subscribe(object, lambda event: all_of_them.put(event) if isinstance(event, kind) else None)
        assert host.call("apart.pay", 7) == 2
        assert seen.get(timeout=PATIENCE) == kind(7)
        assert all_of_them.get(timeout=PATIENCE) == kind(7)
        assert asyncio.run(host.acall("apart.apay", 8)) == 2
        assert seen.get(timeout=PATIENCE) == kind(8)


def test_without_such_a_type_it_is_a_dict(tmp_path):
    """Dates stay dates."""
    seen = SimpleQueue()
    with apart(tmp_path, CODE) as host:
        host.events.subscribe(dict, seen.put)
        assert host.call("apart.pay", 7) == 1
        event = seen.get(timeout=PATIENCE)
        assert event["order"] == 7
        assert event["on"].isoformat() == "2026-11-26"


def test_what_cannot_be_published_is_refused_there(tmp_path):
    """With the field, as in the host."""
    with apart(tmp_path, CODE) as host, pytest.raises(FunctionCrashed) as caught:
        host.call("apart.bad")
    assert caught.value.error_type == "jackfield.PayloadError"


def test_a_handler_runs_in_the_worker(tmp_path):
    """For events of the host whose type has the name that it subscribed to; one that raises is counted."""
    kind = paid()
    with Host.from_config(listener(tmp_path), observers=()) as host:
        assert host.events.publish(kind(1)) == 1
        host.events.publish(kind(-1))
        host.events.publish(kind(2))
        assert until(lambda: host.call("apart.heard") == [1, 2])
        assert until(lambda: host.call("apart.counts") == [2, 1])
        host.call("apart.cancel")
        assert host.events.publish(kind(3)) == 0


def test_a_subscription_outlives_its_worker(tmp_path):
    """The next worker subscribes anew when it starts, and that is the same subscription."""
    kind = paid()
    with Host.from_config(listener(tmp_path), observers=()) as host:
        with pytest.raises(Exception, match="ended by itself"):
            host.call("apart.leave")
        until(lambda: not host.workers)
        assert host.events.publish(kind(5)) == 1
        assert until(lambda: host.call("apart.heard") == [5])


def test_a_stopped_plugin_hears_nothing(tmp_path):
    kind = paid()
    with Host.from_config(listener(tmp_path), observers=()) as host:
        host.stop_plugin("apart")
        assert host.events.publish(kind(5)) == 0
        host.start_plugin("apart")
        assert host.events.publish(kind(6)) == 1
        assert until(lambda: host.call("apart.heard") == [6])


def test_one_worker_hears_what_another_publishes(tmp_path):
    """The host has no type of that name, and needs none."""
    written(tmp_path, CODE)
    file = listener(tmp_path, more='[plugin.worker]\nallow = ["subscribe:apart.*"]\n', name="ear")
    with Host.from_config(file, observers=()) as host:
        assert host.call("apart.pay", 9) == 1
        assert until(lambda: host.call("ear.heard") == [9])


def test_types_of_others_need_a_grant(tmp_path):
    """The plugin does not start, and the fault has the line to add."""
    with Host.from_config(listener(tmp_path, module="orders"), observers=()) as host:
        fault = host.plugins["apart"].fault
        assert "start" in fault.stage
    code = CODE.replace("class Paid:", "class Paid:\n    __module__ = 'orders'")
    with apart(tmp_path / "..", code) as host, pytest.raises(FunctionCrashed) as caught:
        host.call("apart.pay", 1)
    assert caught.value.error_type == "jackfield.PermissionDenied"
