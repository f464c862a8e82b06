"""A world of plugins without a host: a lifecycle, what it announces, and what its plugins do."""

import threading

import attrs

from jackfield.model.spec import Colour, FunctionSpec
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.lifecycle import Lifecycle
from jackfield.plugins.state import PluginStates
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool
from jackfield.store import MemoryStore

PATIENCE = 30.0
"""Seconds that only something broken uses up."""

SHORT = 0.05
"""Seconds: a deadline that is meant to be missed."""


def nothing(*_):
    return None


@attrs.define(eq=False)
class Made:
    """How one plugin of a test behaves: what makes its object, what its functions are, what happens when they go."""

    make: object = nothing
    activate: object = lambda _target: ()
    deactivate: object = nothing


class World:
    """Plugins, each made by a callable of the test; adapter of `Deployment`.

    Args:
        clock: a fake one, or None for the machine's.
    """

    def __init__(self, clock=None):
        self.home = HomeLoop()
        self.control = ControlLoop(clock)
        self.pool = Pool()
        self.time = clock
        self.events = []
        self.log = []
        self.gate = threading.Event()  # what hanging plugins wait for
        self.made = {}
        self.states_kept = PluginStates(MemoryStore(), "test")
        self.lifecycle = Lifecycle(self, self.states_kept, self.control, self.home, self.pool)

    def plugin(self, name, *depends_on, make=None, activate=None, deactivate=None, **options):
        """A plugin that notes its start and stop."""
        self.made[name] = Made(
            make or (lambda: Noting(name, self.log)), activate or (lambda _target: ()), deactivate or nothing
        )
        options = {"stop_timeout": 5.0, **options}
        return PluginBundle(name, depends_on=depends_on, object=self.made[name], **options)

    def add(self, *bundles):
        self.lifecycle.add(bundles)

    def record(self, name):
        return self.lifecycle.records[name]

    def state(self, name):
        return self.lifecycle.records[name].state

    def states(self):
        return {name: record.state.value for name, record in self.lifecycle.records.items()}

    def fault(self, name):
        return self.lifecycle.records[name].fault

    def in_thread(self, body):
        """Run something aside; gives what waits for its result or raises its error."""
        result = []

        def run():
            try:
                result.append((body(), None))
            except BaseException as error:  # noqa: BLE001  # raised again by `join`
                result.append((None, error))

        thread = threading.Thread(target=run)
        thread.start()

        def join():
            thread.join(PATIENCE)
            assert result, "the verb did not return"
            value, error = result[0]
            if error is not None:
                raise error
            return value

        return join

    def close(self):
        """Stop everything, whatever hangs."""
        self.gate.set()
        self.lifecycle.stop_all(PATIENCE)
        self.control.close()
        self.home.close()

    # --- `Deployment` ---

    serving = True

    def load(self, bundle):
        return attrs.evolve(bundle, fault=None)

    def make(self, bundle):
        return bundle.object.make()

    def activate(self, bundle, instance):
        return tuple(_spec(name, bundle) for name in bundle.object.activate(instance))

    def replace(self, bundle, instance):
        return self.activate(bundle, instance), ()

    def withdraw(self, plugin, only=None):
        self.made[plugin].deactivate()
        return ()

    def keep_only(self, plugin, specs):
        return None

    def drain(self, endpoints, timeout):
        return ()

    def in_use(self, endpoints):
        return False

    def publish(self, records, events):
        self.events.extend(events)

    def deliver(self):
        return None


def _spec(name, bundle):
    return FunctionSpec(name, bundle.version, bundle.name, "", target=print, colour=Colour.SYNC)


@attrs.define
class Noting:
    """A plugin object that notes its start and stop."""

    name: str
    log: list

    def start(self):
        self.log.append(f"+{self.name}")

    def stop(self):
        self.log.append(f"-{self.name}")


def wait_for(condition):
    """Wait for what another thread is about to do."""
    ends = threading.Event()
    for _ in range(3_000):
        if condition():
            return
        ends.wait(0.01)
    raise AssertionError("it did not happen")
