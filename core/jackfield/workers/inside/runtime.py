"""One plugin in a worker: imported once by the plugin's zygote, and served by each process that this is forked to."""

import asyncio
import os
import site
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from importlib.machinery import PathFinder
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from jackfield.calls.dispatch import Caller
from jackfield.calls.pipeline import compile_endpoint
from jackfield.errors import Cancelled, JackfieldError, PluginError
from jackfield.events import EventBus
from jackfield.executors.places import Places
from jackfield.injection.injector import Injector
from jackfield.model.call import Call, current
from jackfield.model.headers import Headers
from jackfield.model.options import Config
from jackfield.model.route import Endpoint
from jackfield.model.spec import Colour, FunctionSpec
from jackfield.observe.logger import Logger
from jackfield.plugins import loading
from jackfield.plugins.background import Background, Backgrounds
from jackfield.plugins.bundle import PluginBundle
from jackfield.plugins.discovery import scan
from jackfield.plugins.handover import give_state, take_state
from jackfield.plugins.instance import Instance
from jackfield.plugins.ledger import Ledgers
from jackfield.runtime.control import ControlLoop
from jackfield.runtime.home import HomeLoop
from jackfield.runtime.pool import Pool
from jackfield.strangers import Broken, barrier, is_a
from jackfield.wire.crossing import pack
from jackfield.wire.errors import Failure
from jackfield.workers.arena import Arena
from jackfield.workers.configs import read_config
from jackfield.workers.frames import CARRIED
from jackfield.workers.inside import tracing
from jackfield.workers.inside.describing import described, fault_fact
from jackfield.workers.inside.events import WorkerBus
from jackfield.workers.inside.link import Link
from jackfield.workers.inside.members import MemberLink
from jackfield.workers.inside.reporting import Reports
from jackfield.workers.inside.services import WorkerCaller, WorkerLogger, WorkerSecret, log_to
from jackfield.workers.messages import (
    EVENT,
    JOIN,
    NOTHING,
    PROBE,
    SPAN,
    About,
    Cancel,
    Described,
    Invoke,
    Method,
    Prepare,
    Progressed,
    Result,
    Spans,
    failure_of,
)
from jackfield.workers.tickets import Ticket

if TYPE_CHECKING:
    from jackfield.workers.inside.spans import Batch

_PLAIN: Final = About()


@attrs.frozen
class Trace:
    """The span of the host that a call runs in; has what OpenTelemetry's `SpanContext` has."""

    trace_id: int
    span_id: int
    trace_flags: int


class Runtime:
    """A plugin, and what it needs around it.

    Args:
        message: which plugin, and how.
        library: what is on `sys.path` of Python's own.
        first: the plugin whose process this one lives in, if it shares one.
    """

    def __init__(self, message: Prepare, library: tuple[str, ...], first: "Runtime | None" = None) -> None:
        self._message = message
        self._library = library
        self._members: dict[int, Runtime] = {0: self}  # those that live in this process; of the first alone
        self._link: Link = Link(self._take) if first is None else MemberLink(first._link, message.member)  # noqa: SLF001  # of another of this class
        self._bus = WorkerBus(self._link)
        self._config = read_config(message.config, lambda reference: WorkerSecret(reference, self._link))
        self._confinement: Any = None
        self._bundle: PluginBundle
        self._endpoints: list[Endpoint] = []
        self._instance: Instance | None = None
        self._queue: deque[Invoke] = deque()
        self._wanted: Ticket | None = None  # of the thread that waits for more in the queue
        self._arrived: deque[Invoke] = deque()  # async functions that are to be begun on the loop
        self._woken = False
        self._running: dict[int, asyncio.Task[Any]] = {}  # of the loop, as what follows
        self._answers: list[Result | Spans | Progressed] = []
        self._home: HomeLoop = HomeLoop() if first is None else first._home  # noqa: SLF001  # as above
        self._pool: Pool = Pool() if first is None else first._pool  # noqa: SLF001  # as above
        self._control: ControlLoop = ControlLoop() if first is None else first._control  # noqa: SLF001  # as above
        # A descriptor: the sandbox lets nobody open it any more.
        self._tasks: int = -1 if first is None else first._tasks  # noqa: SLF001  # as above
        self._places = Places(self._home, self._pool, {})
        self._backgrounds = Backgrounds(self._home, Ledgers(), self._pool, self._control)

    # --- In the plugin's zygote --------------------------------------------------------------------------------------

    def prepare(self) -> Described:
        """Enter the sandbox, import the plugin, and say what it gave."""
        message = self._message
        self._tasks = os.open("/proc/self/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        notes: tuple[str, ...] = ()
        if message.confinement:
            from jackfield.sandbox.enter import enter_stage_one  # noqa: PLC0415  # Linux alone has it
            from jackfield.sandbox.port import Confinement  # noqa: PLC0415  # as above

            self._confinement = msgspec.msgpack.decode(message.confinement, type=Confinement)
            # Of a folder that an editable install is in, a package may be read, and what is beside it not even listed:
            # what is looked for there from now on is found by this listing.
            PathFinder.find_spec("jackfield_nothing", list(message.paths))
            notes = enter_stage_one(self._confinement)
        sys.path[:] = (*self._library, *message.paths)
        for each in message.sites:  # code of `.pth` files runs here, inside the sandbox
            site.addsitedir(each)
        return self._load(notes)

    def join(self, message: Prepare) -> Described:
        """Import a further plugin into this process, and say what it gave."""
        member = Runtime(message, self._library, self)
        found = member._load(())
        if found.fault is None:
            self._members[message.member] = member
        return found

    def _load(self, notes: tuple[str, ...]) -> Described:
        message, config = self._message, attrs.evolve(self._config, executor=None)
        try:
            with barrier("loading it"):
                bundle = loading.load_bundle(config, scan(list(message.sites), cache=False), believed=True)
            tracing.prepare()
            return self._take_in(bundle, notes)
        except PluginError as error:
            first = error.faults[0]
            return Described(fault=fault_fact(first), faults=tuple(map(fault_fact, error.faults)))
        except Broken as broken:
            return Described(fault=fault_fact(broken.reason, config.name))

    def _take_in(self, bundle: PluginBundle, notes: tuple[str, ...]) -> Described:
        contextual = {
            Logger: lambda plugin: WorkerLogger(self._link, plugin),
            Config: lambda plugin: Config(plugin, self._config.options),
            Caller: lambda _: WorkerCaller(self._link),
            EventBus: lambda _: self._bus,
            Background: self._backgrounds.of,
        }
        self._injector = Injector(contextual, start=self._pool.start)
        self._injector.add(*bundle.providers)
        diagnosis = self._injector.diagnose(bundle.specs)
        faults = [*bundle.faults, *(fault for found in diagnosis.providers.values() for fault in found)]
        faults += (fault for found in diagnosis.functions.values() for fault in found)
        self._bundle = _here(bundle.without(diagnosis.functions))
        for spec in self._bundle.functions:
            self._endpoints.append(self._compiled(spec))
        return described(self._bundle, faults, notes, bundle.hooks, self.threads())

    def threads(self) -> int:
        """Count the threads of this process, native ones included."""
        if self._tasks < 0:  # in a worker, which nobody forks
            return 1
        return len(os.listdir(self._tasks))  # noqa: PTH208  # of a descriptor

    def _compiled(self, spec: FunctionSpec) -> Endpoint:
        return compile_endpoint(
            spec, injector=self._injector, observers=(), places=self._places, timeout=None, again=_gone
        )

    # --- In a worker -------------------------------------------------------------------------------------------------

    def work(self, calls: socket.socket, side: socket.socket, memory: int) -> None:
        """Serve calls until the host has ended.

        Args:
            calls: where they come.
            side: where everything else comes.
            memory: a descriptor of what it shares with the host.
        """
        arena = Arena(memory, host=False)
        os.close(memory)
        os.close(self._tasks)
        self._tasks = -1
        if self._confinement is not None:
            from jackfield.sandbox.enter import enter_stage_two  # noqa: PLC0415  # as above

            enter_stage_two(self._confinement)
        link = self._link
        log_to(link)
        link.meet(calls, side, arena)
        while True:
            if not self._queue:
                self._wanted = wanted = Ticket()
                if not self._queue:
                    link.calls.wait(wanted)
            self._invoke(self._queue.popleft())

    def _take(self, message: Any, of_calls: bool) -> None:
        """Take in what the host sent, in the thread of whoever reads: nothing may wait here."""
        if isinstance(message, Invoke) and of_calls:
            self._take_call(message)
        elif isinstance(message, Cancel):
            if self._home.post is not None:  # else no async function has come
                self._at_home(partial(self._cancel, message.id))
        elif isinstance(message, Method):
            try:
                self._set_to(message)
            except JackfieldError as error:  # whoever reads goes on
                self._link.side.send(outcome(message.id, self._config.name, None, error))

    def _set_to(self, message: Method) -> None:
        """Have a plugin perform a method in a thread of its own."""
        member = self if message.name == JOIN else self._members.get(message.member)
        if member is None:
            raise JackfieldError("its plugin could not be imported into this process")
        self._pool.start(f"{self._config.name}:{message.name}", partial(member.perform, message))

    def _take_call(self, message: Invoke) -> None:
        self._link.free(message.took)
        if self._endpoint(message.function).spec.colour is Colour.ASYNC:
            self._arrived.append(message)
            if not self._woken:
                self._woken = True
                self._at_home(self._begin_all)
            return
        self._queue.append(message)
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.settle(None)

    def _endpoint(self, number: int) -> Endpoint:
        return self._members[number // SPAN]._endpoints[number % SPAN]  # noqa: SLF001  # as above

    def _invoke(self, message: Invoke) -> None:
        """Run a sync function, in this thread."""
        endpoint = self._endpoint(message.function)
        call = call_of(message, endpoint, self._link.arena)
        self._link.begin(call, message.id)
        batch, reports = tracing.batch_of(call), self._reports(message)
        context = _context(batch, reports)
        try:
            result = endpoint.run(call) if context is None else context.run(endpoint.run, call)
        except BaseException as error:  # noqa: BLE001  # whatever it is belongs to the caller
            self._answer(message.id, call, batch, reports, None, error)
        else:
            self._answer(message.id, call, batch, reports, result)

    def _reports(self, message: Invoke) -> Reports | None:
        """Make what tells how far a call has come, if somebody listens."""
        if message.about is None or not message.about.heard:
            return None
        return Reports(message.id, self._link.calls.send, self._pool.start)

    def _at_home(self, step: Callable[[], object]) -> None:
        """Have something done on the loop, soon."""
        post = self._home.post
        if post is None:  # the first time: it is not there yet
            self._home.run(asyncio.sleep(0))
            post = self._home.post
        assert post is not None  # noqa: S101  # it has just run something
        post(step)

    def _begin_all(self) -> None:
        """Begin the async functions that have come since the loop was last woken; on the loop."""
        self._woken = False  # before they are looked at: whoever adds one from now on wakes the loop again
        while self._arrived:
            self._begin(self._arrived.popleft())

    def _begin(self, message: Invoke) -> None:
        """Run an async function; on the loop."""
        endpoint = self._endpoint(message.function)
        call = call_of(message, endpoint, self._link.arena)
        self._link.begin(call, message.id)
        walk: Any = endpoint.arun(call)  # a coroutine, since the function is async
        batch, reports = tracing.batch_of(call), self._reports(message)
        task = asyncio.get_running_loop().create_task(walk, context=_context(batch, reports))
        self._running[message.id] = task
        task.add_done_callback(partial(self._ended, message.id, call, batch, reports))

    def _ended(
        self, number: int, call: Call, batch: "Batch | None", reports: Reports | None, task: "asyncio.Task[Any]"
    ) -> None:
        """Answer with what a task gave, together with the others that end in this turn of the loop."""
        del self._running[number]
        result: Any = None
        error: BaseException | None
        if task.cancelled():
            error = Cancelled(call.name, "its caller has left")
        elif (error := task.exception()) is None:
            result = task.result()
        self._link.finish(call)
        first = not self._answers
        self._answers += _before(number, batch, reports)
        self._answers.append(outcome(number, call.name, result, error, self._link.arena))
        if first:
            asyncio.get_running_loop().call_soon(self._answer_all)

    def _answer_all(self) -> None:
        answers, self._answers = self._answers, []
        self._link.calls.send_all(answers)

    def _cancel(self, number: int) -> None:
        """End a function that nobody waits for; on the loop, after it was begun there."""
        running = self._running.get(number)
        if running is not None:
            running.cancel()

    def _answer(
        self,
        number: int,
        call: Call,
        batch: "Batch | None",
        reports: Reports | None,
        result: Any,
        error: BaseException | None = None,
    ) -> None:
        self._link.finish(call)
        answer = outcome(number, call.name, result, error, self._link.arena)
        if before := _before(number, batch, reports):
            self._link.calls.send_all((*before, answer))
        else:
            self._link.calls.send(answer)

    # --- The plugin object -------------------------------------------------------------------------------------------

    def perform(self, message: Method) -> None:
        """Call a method of the plugin object, in a thread of its own."""
        ends = monotonic() + message.budget
        current.set(Call("", deadline=ends))
        name, failure = self._config.name, None
        result: Any = None
        try:
            with barrier(f"{message.name}()"):
                result = self._perform(message, ends)
        except BaseException as error:  # noqa: BLE001  # whatever it is belongs to whoever asked
            failure = error
        self._link.side.send(outcome(message.id, name, result, failure))

    def _brought(self, number: int, prepare: bytes | None) -> None:
        """Import a further plugin, unless this process was forked from one that has it."""
        if number in self._members:
            return
        found = self.join(msgspec.msgpack.decode(prepare or b"", type=Prepare))
        if found.fault is not None:
            raise JackfieldError(found.fault.reason)

    def _perform(self, message: Method, ends: float) -> Any:  # noqa: PLR0911  # a table of methods
        name = message.name
        if name == JOIN:
            return self._brought(message.member, message.state)
        if name == "start":
            return self._start(message.state, ends)
        if self._instance is None:
            return None
        if message.name.startswith(EVENT):
            known, given = self._bus.take(message.name.removeprefix(EVENT), message.state)
            self._instance.settle(given, ends)
            return known
        if message.name.startswith(PROBE):
            return self._probed(message.name.removeprefix(PROBE), self._instance, ends)
        if message.name == "snapshot":
            return take_state(self._instance, ends)
        if message.name == "stop":
            self._bus.ending = True
            self._backgrounds.of(self._config.name).stopping.set()
        return self._instance.checked(message.name, ends=ends)

    def _probed(self, name: str, instance: Instance, ends: float) -> Any:
        """Call what the manifest names for a moment of the plugin's life: a function, or a method of its object."""
        endpoint = next((each for each in self._endpoints if each.spec.name == name), None)
        if endpoint is None:
            return instance.settle(getattr(instance.target, name)(), ends)
        call = Call(name, None, endpoint.spec.version, deadline=ends)
        if endpoint.spec.colour is Colour.SYNC:
            return endpoint.run(call)
        walk: Any = endpoint.arun(call)  # a coroutine, as above
        return instance.settle(walk, ends)

    def _start(self, state: bytes | None, ends: float) -> None:
        """Make the plugin object, give it its state, start it, and bind its methods."""
        bundle = self._bundle
        self._backgrounds.of(bundle.name).open()
        made = bundle.object
        if is_a(made, type):
            making = bundle.making()
            made = self._injector.body(making)(Call(making.name), None)
        self._instance = Instance(bundle.name, made, self._home)
        if state is not None and self._instance.has("restore"):
            give_state(self._instance, state, ends)
        self._instance.checked("start", ends=ends)
        for spec in bundle.bound(made)[len(bundle.functions) :]:
            self._endpoints.append(self._compiled(spec))


def _here(bundle: PluginBundle) -> PluginBundle:
    """Let functions that ask for a worker run where they are: in one."""

    def moved(spec: FunctionSpec) -> FunctionSpec:
        if spec.policy.executor not in ("worker", "thread"):
            return spec
        return attrs.evolve(spec, policy=attrs.evolve(spec.policy, executor=None))

    return attrs.evolve(
        bundle,
        functions=tuple(map(moved, bundle.functions)),
        methods=tuple((name, moved(spec)) for name, spec in bundle.methods),
    )


def _context(batch: "Batch | None", reports: Reports | None) -> Context | None:
    """Give the context that a call runs in; None: any."""
    context = None if batch is None else batch.context()
    if reports is None:
        return context
    return reports.listen(copy_context() if context is None else context)


def _before(number: int, batch: "Batch | None", reports: Reports | None) -> "list[Spans | Progressed]":
    """Give what is to be said of a call that has ended before its result is."""
    if batch is None and reports is None:
        return []
    said: list[Spans | Progressed] = [] if reports is None else [*reports.close()]
    spans = None if batch is None else batch.taken(number)
    return said if spans is None else [*said, spans]


def call_of(message: Invoke, endpoint: Endpoint, arena: Arena) -> Call:
    """Make the call that the host described."""
    about = message.about or _PLAIN
    trace = about.trace
    spec = endpoint.spec
    return Call(
        spec.name,
        arena.get(message.payload, message.place),
        spec.version,
        message.revision,
        None if message.budget is None else monotonic() + message.budget,
        about.tenant,
        about.rule,
        int.from_bytes(message.number, "big"),
        Headers(about.headers),
        None,
        about.attempt,
        None if trace is None else Trace(int.from_bytes(trace[0], "big"), int.from_bytes(trace[1], "big"), trace[2]),  # type: ignore[arg-type]  # has what is read of one
    )


def outcome(number: int, name: str, result: Any, error: BaseException | None, arena: Arena | None = None) -> Result:
    """Say how something has ended, whatever it gave; in shared memory, if that is given, where it is large."""
    if error is None:
        try:
            if arena is None:
                return Result(number, msgspec.Raw(_fitting(pack(result))))
            raw, place = arena.put_result(result)
            return Result(number, raw, None, place)
        except Exception as wrong:  # noqa: BLE001  # what has no form, or is too large
            error = wrong
    try:
        return Result(number, NOTHING, failure_of(error, name))
    except BaseException as worse:  # noqa: BLE001  # out of memory, the stack is full
        kind = type(worse).__name__
        return Result(
            number, NOTHING, Failure("FunctionCrashed", kind, "crashed", {"function": name, "error_type": kind})
        )


def _fitting(packed: bytes) -> bytes:
    if len(packed) > CARRIED:
        raise ValueError(f"its result has {len(packed):,} bytes, and at most {CARRIED:,} go to another process")
    return packed


def _gone(call: Call) -> Any:
    raise JackfieldError(f"{call.name} is not there any more")
