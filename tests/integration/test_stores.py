"""A host and the store that it was given."""

import asyncio

import pytest

from jackfield import Host, PluginError
from jackfield.store import MemoryStore

COUNTER = """
from jackfield import function

class Counter:
    seen = 0

    def snapshot(self):
        return {"seen": self.seen}

    def restore(self, state):
        self.seen = state["seen"]

    @function
    def count(self):
        self.seen += 1
        return VERSION, self.seen
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "jackfield.toml").write_text('[[plugin]]\nname = "counter"\npath = "./counter.py:Counter"\n', "utf-8")

    def write(version):
        (tmp_path / "counter.py").write_text(f"VERSION = {version}\n{COUNTER}", "utf-8")
        return tmp_path / "jackfield.toml"

    return write


def states(store):
    """Give the segments of the keys of all states: host, plugin, version."""
    keys = [key.split("/") for key in asyncio.run(store.range("hosts/")).entries]
    return [(key[1], key[3], key[4]) for key in keys if key[2] == "state"]


def test_states_of_replaced_versions_go_to_the_store_of_the_host_the_last_few_only(write):
    """However often a plugin is reloaded."""
    store = MemoryStore()
    with Host.from_config(write(0), observers=(), store=store) as host:
        for version in range(1, 8):
            assert host.call("counter.count") == (version - 1, version)
            write(version)
            assert host.reload("counter").state_handed
        found = states(store)
        assert len({host for host, _, _ in found}) == 1
        assert {plugin for _, plugin, _ in found} == {"counter"}
        assert 1 < len(found) <= 4


def test_a_plugin_is_not_replaced_while_its_state_has_no_place(write):
    """The error says that the store is out of reach; the old one serves on."""
    store = MemoryStore()
    with Host.from_config(write(0), observers=(), store=store) as host:
        assert host.call("counter.count") == (0, 1)
        asyncio.run(store.close())
        write(1)
        with pytest.raises(PluginError, match="store: it has been closed"):
            host.reload("counter")
        assert host.call("counter.count") == (0, 2)
