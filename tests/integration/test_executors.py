"""Executors of the embedder: bound once, given both colours, refused when they are none."""

import asyncio
import threading

import attrs
import pytest

from jackfield import ContractError, FunctionCrashed, Host, function, inject
from jackfield.executors.thread import ThreadExecutor
from jackfield.ports import ExecutorStats


@attrs.define
class Here:
    """Runs sync bodies where their caller is, async ones on the caller's loop or one of its own; writes down all."""

    injects: bool = False
    refuses: str = ""
    log: list[str] = attrs.field(factory=list)

    def refusal(self, spec):
        return self.refuses

    def bind(self, spec, local):
        self.log.append(f"bind {spec.key}")
        return Bound(self.log, spec, local)

    def stats(self):
        return ExecutorStats(enqueued=len(self.log))


@attrs.frozen
class Bound:
    log: list
    spec: object
    local: object

    def run(self, call):
        self.log.append(f"run {call.name}")
        result = self.local(call)
        return asyncio.run(result) if asyncio.iscoroutine(result) else result

    async def arun(self, call):
        self.log.append(f"arun {call.name}")
        result = self.local(call)
        return await result if asyncio.iscoroutine(result) else result

    def close(self):
        self.log.append(f"close {self.spec.key}")


@function(executor="here")
def double(number: int) -> int:
    return 2 * number


@function(executor="here")
async def adouble(number: int) -> int:
    return 2 * number


def test_an_executor_is_bound_at_registration_and_closed_at_unregistration():
    """Never at a call: a call goes straight to what was bound."""
    here = Here()
    with Host(observers=(), executors={"here": here}) as host:
        host.register("double", double)
        assert [host.call("double", n) for n in range(3)] == [0, 2, 4]
        host.unregister("double")
    assert here.log == ["bind double@0", *["run double"] * 3, "close double@0"]


def test_both_colours_go_through_it_from_either_side():
    """An async function runs where its policy says, too."""
    here = Here()
    with Host(observers=(), executors={"here": here}) as host:
        host.register("double", double)
        host.register("adouble", adouble)
        assert [host.call(name, 1) for name in ("double", "adouble")] == [2, 2]
        assert [asyncio.run(host.acall(name, 1)) for name in ("double", "adouble")] == [2, 2]
    assert [entry for entry in here.log if "run" in entry] == [
        "run double",
        "run adouble",
        "arun double",
        "arun adouble",
    ]


def test_its_stats_are_the_hosts():
    """By its name, beside those of the threads."""
    with Host(observers=(), executors={"here": Here()}) as host:
        host.register("double", double)
        assert {name: stats.enqueued for name, stats in host.executors.items()} == {"thread": 0, "here": 1}


@pytest.mark.parametrize("started", [False, True])
def test_an_async_function_in_a_thread_is_refused_at_registration(started):
    """With what to do about it, whether or not the host runs; nothing of its transaction is registered."""
    host = Host(observers=())
    if started:
        host.start()

    @function(executor="thread")
    async def fetch() -> int:
        return 1

    with pytest.raises(ContractError, match=r"cannot run with executor='thread': it is async.* → leave `executor` out"):
        host.register("fetch", fetch)
    assert "fetch" not in host.snapshot.functions
    host.stop()


def test_an_executor_may_refuse_a_function_for_reasons_of_its_own():
    """Its reason and fix are those of the fault."""
    host = Host(observers=(), executors={"here": Here(refuses="it has no wheel: build one")})
    with pytest.raises(ContractError) as caught:
        host.register("double", double)
    (fault,) = caught.value.faults
    assert (fault.reason, fault.fix) == ("it cannot run with executor='here': it has no wheel", "build one")


def test_one_that_cannot_be_bound_changes_nothing():
    """Whatever it raises is the fault of the function, and the host goes on."""

    class Broken(Here):
        def bind(self, spec, local):
            raise OSError("no route to host")

    with Host(observers=(), executors={"here": Broken()}) as host:
        revision = host.snapshot.revision
        with pytest.raises(ContractError, match="executor 'here' could not bind it: OSError at ") as caught:
            host.register("double", double)
        assert str(caught.value.__cause__) == "no route to host"
        assert host.snapshot.revision == revision


def test_what_it_raises_by_itself_is_a_crash_and_a_cancel_is_jackfields_own():
    """A fault of an adapter reaches no caller raw."""

    @attrs.frozen
    class Faulty(Bound):
        def run(self, call):
            raise {"double": OSError("broken pipe"), "again": asyncio.CancelledError()}[call.name]

    class Sick(Here):
        def bind(self, spec, local):
            return Faulty(self.log, spec, local)

    with Host(observers=(), executors={"here": Sick()}) as host:
        host.register("double", double)
        host.register("again", double)
        with pytest.raises(FunctionCrashed, match="broken pipe"):
            host.call("double", 1)
        with pytest.raises(Exception, match="again: cancelled") as caught:
            host.call("again", 1)
        assert type(caught.value).__name__ == "Cancelled"


def test_dependencies_that_are_injected_elsewhere_are_not_looked_for_here():
    """The host has no provider of it, and starts all the same; without `injects` it refuses."""

    class Engine:
        """Only the other side has one."""

    @function(executor="here")
    def drive(*, engine: Engine = inject()) -> int:
        return 1

    for started_first in (False, True):
        host = Host(observers=(), executors={"here": Here(injects=True)})
        if started_first:
            host.start()
        host.register("drive", drive)
        host.start()
        host.stop()
    host = Host(observers=(), executors={"here": Here()})
    host.register("drive", drive)
    with pytest.raises(Exception, match="Engine"):
        host.start()


def test_an_executor_of_the_old_port_is_refused_by_what_it_lacks():
    """With the page that says how to move it."""

    class Old:
        def run(self, call, body):
            return body(call)

        async def arun(self, call, body):
            return body(call)

        def stats(self):
            return ExecutorStats()

    with pytest.raises(
        ContractError, match=r"gpu: contract: .*Old has no `injects`, `refusal`, `bind` → .*executors.md"
    ):
        Host(observers=(), executors={"gpu": Old()})


@pytest.mark.parametrize("name", ["inline", "thread"])
def test_the_names_of_the_built_in_executors_are_taken(name):
    """Rather than that one of both were silently ignored."""
    with pytest.raises(ContractError, match="this name is built in"):
        Host(observers=(), executors={name: ThreadExecutor()})


def thread() -> int:
    return threading.get_ident()


def unmarked() -> int:
    return threading.get_ident()


def test_inline_means_inline_for_acall_too():
    """On the author's word that it is short, it runs on the caller's loop; without the word it runs in a thread."""
    with Host(observers=()) as host:
        host.register("inline", function(executor="inline")(thread))
        host.register("plain", unmarked)

        async def main():
            return [await host.acall(name) == threading.get_ident() for name in ("inline", "plain")]

        assert asyncio.run(main()) == [True, False]
