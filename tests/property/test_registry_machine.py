"""The registry against a plain model: whatever is done to it, it agrees with a dict of dicts."""

import contextlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from jackfield import DuplicateFunction, FunctionNotFound, Host, JackfieldError, PluginError

pytestmark = pytest.mark.concurrency

NAMES = st.sampled_from(["a", "b.c", "b.d"])
VERSIONS = st.sampled_from(["0", "1.0", "2.0"])


def answering(value):
    def function():
        return value

    return function


class RegistryMachine(RuleBasedStateMachine):
    """Register, unregister, transact and roll back at random."""

    registrations = Bundle("registrations")

    @initialize()
    def open(self):
        self.host = Host(observers=())
        self.host.start()
        self.model = {}
        self.kept = {self.host.snapshot.revision: {}}
        self.count = 0

    def teardown(self):
        if hasattr(self, "host"):
            self.host.stop()

    def _keep(self):
        self.kept[self.host.snapshot.revision] = {name: dict(versions) for name, versions in self.model.items()}

    def _fresh(self):
        self.count += 1
        return self.count

    @rule(target=registrations, name=NAMES, version=VERSIONS)
    def register(self, name, version):
        value = self._fresh()
        if version in self.model.get(name, {}):
            before = self.host.snapshot
            with pytest.raises(DuplicateFunction):
                self.host.register(name, answering(value), version=version)
            assert self.host.snapshot is before
            return None
        registration = self.host.register(name, answering(value), version=version)
        self.model.setdefault(name, {})[version] = value
        self._keep()
        return registration, name, version, value

    @rule(name=NAMES)
    def unregister_all(self, name):
        if name not in self.model:
            with pytest.raises(FunctionNotFound):
                self.host.unregister(name)
            return
        self.host.unregister(name)
        del self.model[name]
        self._keep()

    @rule(name=NAMES, version=VERSIONS)
    def unregister_one(self, name, version):
        versions = self.model.get(name, {})
        if version not in versions:
            with pytest.raises(FunctionNotFound):
                self.host.unregister(name, version=version)
        elif version == next(iter(versions)) and len(versions) > 1:
            with pytest.raises(PluginError, match="default version"):
                self.host.unregister(name, version=version)
        else:
            self.host.unregister(name, version=version)
            del versions[version]
            if not versions:
                del self.model[name]
            self._keep()

    @rule(registration=registrations)
    def remove(self, registration):
        """`remove()` undoes exactly its own registration, and nothing that took its place."""
        if registration is None:
            return
        handle, name, version, value = registration
        versions = self.model.get(name, {})
        if versions.get(version) != value:
            before = self.host.snapshot.functions
            handle.remove()
            assert {name: set(route.endpoints) for name, route in before.items()} == {
                name: set(versions) for name, versions in self.model.items()
            }
        elif version == next(iter(versions)) and len(versions) > 1:
            with pytest.raises(PluginError):
                handle.remove()
            return
        else:
            handle.remove()
            del versions[version]
            if not versions:
                del self.model[name]
        self._keep()

    @rule(names=st.lists(st.tuples(NAMES, VERSIONS), max_size=4), fail=st.booleans())
    def transact(self, names, fail):
        """All of a transaction or none of it."""
        wanted = {name: dict(versions) for name, versions in self.model.items()}
        clash = False
        before = self.host.snapshot
        raised = contextlib.suppress(ZeroDivisionError, DuplicateFunction)
        with raised, self.host.update() as tx:
            for name, version in names:
                value = self._fresh()
                tx.register(name, answering(value), version=version)
                clash = clash or version in wanted.get(name, {})
                wanted.setdefault(name, {}).setdefault(version, value)
            assert 1 // (not fail)
        if fail or clash or not names:
            assert self.host.snapshot is before
        else:
            self.model = wanted
            self._keep()

    @rule(data=st.data())
    def roll_back(self, data):
        revision = data.draw(st.sampled_from(sorted(self.kept)))
        if revision not in self.host.revisions:
            with pytest.raises(LookupError):
                self.host.rollback(revision)
            return
        before = self.host.snapshot.revision
        assert self.host.rollback(revision).revision == before + 1
        self.model = {name: dict(versions) for name, versions in self.kept[revision].items()}
        self._keep()

    @invariant()
    def agrees(self):
        if not hasattr(self, "host"):
            return
        functions = self.host.snapshot.functions
        assert set(functions) == set(self.model)
        for name, versions in self.model.items():
            assert functions[name].default == next(iter(versions))
            assert self.host.call(name) == next(iter(versions.values()))
            for version, value in versions.items():
                assert self.host.call(name, version=version) == value
        for name in {"a", "b.c", "b.d"} - set(self.model):
            with pytest.raises(JackfieldError):
                self.host.call(name)


RegistryMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
TestRegistry = RegistryMachine.TestCase
