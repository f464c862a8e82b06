"""A store that hangs, raises or wants to exit: plugins start, stop and unload in their time, and say what was wrong."""

import asyncio
import threading

import pytest

from jackfield import Host, PluginError, log
from jackfield.config import PluginConfig
from jackfield.store import MemoryStore, hosted
from support.plugins import wait_for

PLUGIN = """
class Keeper:
    def snapshot(self):
        return 1

    def restore(self, state):
        pass
"""


class Sick(MemoryStore):
    """Answers some verbs no more, from a moment on."""

    def __init__(self, answer, monkeypatch):
        super().__init__()
        self.answer = answer
        self.sick = frozenset()
        self._patch = monkeypatch

    def fall(self, *verbs):
        """Sick it is waited for shortly; well it has its time, also on a machine under load."""
        self.sick = frozenset(verbs)
        self._patch.setattr(hosted, "ANSWER", 0.05 if verbs else 30.0)

    async def range(self, *args, **options):
        if "range" in self.sick:
            await self.answer()
        return await super().range(*args, **options)

    async def put(self, *args, **options):
        if "put" in self.sick:
            await self.answer()
        return await super().put(*args, **options)


async def hang():
    while True:  # not even a cancellation ends it
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling() > 1:  # the loop itself is closed
                raise


async def leave():
    raise SystemExit(3)


@pytest.fixture
def keeper(tmp_path):
    (tmp_path / "keeper.py").write_text(PLUGIN)
    return PluginConfig("keeper", f"{tmp_path / 'keeper.py'}:Keeper")


@pytest.mark.parametrize("answer", [hang, leave])
def test_a_start_fails_alone_and_works_when_the_store_is_well_again(keeper, answer, monkeypatch):
    """Neither the start nor the host hangs or dies; the fault names the store."""
    store = Sick(answer, monkeypatch)
    store.fall("range")
    with Host(observers=(), store=store) as host:
        with pytest.raises(PluginError, match="store"):
            host.load(keeper)
        store.fall()
        assert host.start_plugin("keeper").state == "running"


@pytest.mark.parametrize("answer", [hang, leave])
def test_a_stop_and_an_unload_end_without_the_store(keeper, answer, monkeypatch):
    """The plugin has stopped although its state was not kept, and is unloaded although that was not forgotten."""
    store = Sick(answer, monkeypatch)
    with Host(observers=(), store=store) as host:
        host.load(keeper)
        store.fall("put", "range")
        record = host.stop_plugin("keeper")
        assert (record.state, record.fault.stage) == ("stopped", "snapshot")
        (fault,) = host.unload("keeper").failed
        assert "could not be forgotten" in fault.reason


def test_a_host_stops_although_its_store_hangs(keeper, monkeypatch):
    """Leaving the block ends, with the plugin stopped."""
    store = Sick(hang, monkeypatch)
    with Host(observers=(), store=store) as host:
        host.load(keeper)
        store.fall("put", "range")
    assert host.plugins["keeper"].state == "stopped"


class Given:
    """A lease that cannot be given back."""

    def __init__(self, lease, error):
        self._lease, self._error = lease, error

    def __getattr__(self, name):
        return getattr(self._lease, name)

    async def release(self):
        raise self._error  # a class: an error that was made would keep all the frames that it was raised through


@pytest.mark.parametrize("error", [OSError, SystemExit, asyncio.CancelledError])
def test_a_host_stops_whole_although_its_id_cannot_be_given_back(error, keeper):
    """Whatever the store raises is a warning: the loops end, and the host can be started again."""

    class Keeps(MemoryStore):
        async def lease(self, *args, **options):
            return Given(await super().lease(*args, **options), error)

    said = []
    remove = log.install(lambda message: said.append(message.text))
    before = set(threading.enumerate())
    try:
        with Host(observers=(), store=Keeps()) as host:
            host.load(keeper)
    finally:
        remove()
    assert [text for text in said if "the host's id could not be given back" in text]
    loops = {"jackfield-control", "jackfield-store", "jackfield-loop"}
    wait_for(lambda: not [each for each in {*threading.enumerate()} - before if each.name in loops])
    with host:
        assert host.plugins["keeper"].state == "running"


async def cancel():
    raise asyncio.CancelledError


def test_a_store_that_cancels_what_it_was_asked_is_said_to(keeper, monkeypatch):
    """It is no time that has run out."""
    store = Sick(cancel, monkeypatch)
    store.fall("range")
    with Host(observers=(), store=store) as host, pytest.raises(PluginError, match="it cancelled what it was asked"):
        host.load(keeper)


@pytest.fixture
def blocking(monkeypatch):
    """A store that blocks where it should await, once told to, until the test ends."""
    gate = threading.Event()

    async def block():
        gate.wait()

    yield Sick(block, monkeypatch)
    gate.set()


def test_a_store_that_blocks_its_event_loop_keeps_the_host_from_nothing(keeper, blocking, tmp_path):
    """Others start and are asked for their health meanwhile; the fault names the line at which the store hangs."""
    (tmp_path / "other.py").write_text("def f():\n    return 1\n")
    other = PluginConfig("other", str(tmp_path / "other.py"), functions={"other.f": "f"})
    blocking.fall("range")
    with Host(observers=(), store=blocking) as host:
        with pytest.raises(PluginError, match=r"it blocks its event loop at .*threading\.py:\d+ instead of awaiting"):
            host.load(keeper)
        assert host.control.run(asyncio.sleep(0, "it answers"), 30.0) == "it answers"
        assert host.load(other).state == "running"
        assert host.health()["other"].healthy
        assert host.unload("other").failed[0].stage == "unload"  # its state could not be forgotten


def test_a_host_stops_although_its_store_blocks(keeper, blocking):
    """Its plugin has stopped, though its state was not kept, and the log says that the id was not given back."""
    said = []
    remove = log.install(lambda message: said.append(message.text))
    try:
        with Host(observers=(), store=blocking) as host:
            host.load(keeper)
            blocking.fall("put", "range")
        assert host.plugins["keeper"].state == "stopped"
        assert "snapshot" in host.plugins["keeper"].fault.stage
    finally:
        remove()
    assert [text for text in said if "the host's id could not be given back" in text]
