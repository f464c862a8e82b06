"""Running a flow: every step as soon as what it needs is there, all within one call.

A step that has ended begins those that waited for it: the first of them in its own task, so that a chain of steps needs
none of its own, the others in new ones of one group. That group is what cancels the rest when a step fails, and what
waits for all of them when the flow itself is cancelled.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from jackfield.contract.payload.naming import is_whole
from jackfield.errors import Cancelled, DeadlineExceeded, FunctionNotFound, JackfieldError, Rejected, StepFailed
from jackfield.flow.group import Group
from jackfield.flow.journal import NOTHING, Journal, current_journal
from jackfield.flow.program import Node, Program
from jackfield.flow.values import Scope, Unbound, by_value, follow
from jackfield.flow.watching import StepState, Watch, current_watch
from jackfield.log import host_log
from jackfield.model.call import Call, current, in_step
from jackfield.model.flow import INPUT, ITEM, Reference
from jackfield.model.progress import listening
from jackfield.model.snapshot import Snapshot
from jackfield.model.spec import FunctionSpec
from jackfield.stack import error_message, error_type
from jackfield.strangers import is_a

_NO_RESULT: Final = object()


class Functions(Protocol):
    """What a flow needs of its host."""

    @property
    def snapshot(self) -> Snapshot:
        """The functions of now."""
        ...

    async def acall(self, name: str, payload: Any = None, /) -> Any:
        """Call a function within the call that surrounds it."""
        ...

    async def find(self, name: str) -> JackfieldError | None:
        """Import a function that is known by name alone; say why, if there is none."""
        ...


class Called(NamedTuple):
    """What a step has to know of the function that it calls.

    Attributes:
        whole: whether the one value that it gives by name is the payload itself.
        idempotent: whether the function may be called again when its end is not known.
    """

    whole: bool = False
    idempotent: bool = False


class FlowFunction:
    """What is called when a flow is: the target of its `FunctionSpec`.

    Args:
        program: the flow.
        functions: calls its steps.

    Attributes:
        flow: it.
    """

    def __init__(self, program: Program, functions: Functions) -> None:
        self.program = program
        self.flow = program.flow
        self.acall = functions.acall
        self._functions = functions
        # By revision: a snapshot that is kept would keep functions that were unloaded since.
        self._called: tuple[int, Mapping[str, Called]] = -1, {}

    async def __call__(self, input: Any = None, /) -> Any:  # noqa: A002  # `$input`
        """Run it.

        Args:
            input: what `$input` stands for.

        Returns:
            Its output: plain data that nobody else has.

        Raises:
            Rejected: what a step raises of that kind.
            StepFailed: a step has failed otherwise.
        """
        call = current.get()
        seen, called = self._called
        if seen != self._functions.snapshot.revision:
            called = await self._look_up()
        # A journal is of one call, and not of those below it.
        is_root = call is None or call.parent is None
        kept, watch = (current_journal.get(), current_watch.get()) if is_root else (None, None)
        if watch is None and (listener := listening.get()) is not None:
            watch = Watch(self.flow, listener)
        return await Run(self, called, call, input, kept, watch).whole()

    async def _look_up(self) -> Mapping[str, Called]:
        """Learn what there is to know of the functions, and refuse before anything runs if nobody knows one."""
        nodes = self.program.nodes.values()
        for node in nodes:
            name = node.step.call
            if name not in self._functions.snapshot.routes:
                refusal = await self._functions.find(name)
                if is_a(refusal, FunctionNotFound):
                    raise StepFailed(self.flow.name, node.step.name, name, str(refusal)) from refusal
        snapshot = self._functions.snapshot
        found = {node.step.name: _called(node, snapshot) for node in nodes}
        if all(node.step.call in snapshot.routes for node in nodes):
            self._called = snapshot.revision, found
        return found

    def __repr__(self) -> str:
        """Show the key."""
        return f"FlowFunction({self.flow.key})"


def _called(node: Node, snapshot: Snapshot) -> Called:
    route = snapshot.routes.get(node.step.call)
    if route is None:
        return Called()
    spec: FunctionSpec = route.spec
    return Called(node.named is not None and is_whole(spec, node.named), spec.policy.idempotent)


class Run:
    """One run of a flow.

    Args:
        function: the flow.
        called: step → what is known of its function.
        call: the call of the flow.
        given: what it was called with.
        kept: where its completed steps are, if it is durable.
        watch: sees its steps, if anybody does.
    """

    def __init__(
        self,
        function: FlowFunction,
        called: Mapping[str, Called],
        call: Call | None,
        given: Any,
        kept: Journal | None,
        watch: Watch | None,
    ) -> None:
        program = self._program = function.program
        self._acall: Callable[..., Any] = function.acall
        self._called = called
        self._call = call
        self._given = given
        self._journal = kept
        self._watch = watch
        self._scope: dict[str, Any] = {}
        self._waiting = {name: node.waits for name, node in program.nodes.items() if node.waits}
        self._lost: set[str] = set()  # steps that need one without a result
        self._under_way: dict[str, None] = {}
        self._group: Group | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = 0  # how often its task had been before it began

    async def whole(self) -> Any:
        """Run it from its first steps to its output."""
        try:
            self._scope[INPUT] = by_value(self._given)
        except TypeError as error:
            raise self._odd(f"what it is called with has no plain form: {error}") from None
        if (task := asyncio.current_task()) is not None:
            self._task, self._cancelled = task, task.cancelling()
        try:
            if self._program.is_chain:
                await self._begin(self._program.first)
            else:
                self._group = Group()
                for name in self._program.first:
                    self._group.start(self._begin((name,)))
                await self._group.wait()
        except asyncio.CancelledError as cancelled:
            raise cancelled from self._overdue()
        try:
            return self._program.output(self._scope)
        except Unbound as unbound:
            raise self._odd(f"its output: {unbound}") from None

    # --- Order ------------------------------------------------------------------------------------------------------

    async def _begin(self, ready: Sequence[str]) -> None:
        """Do steps that need not wait, and what waits for them: the first here, the others beside it."""
        while ready:
            for name in ready[1:]:
                assert self._group is not None  # noqa: S101  # a chain has no others
                self._group.start(self._begin((name,)))
            ready = await self._done(self._program.nodes[ready[0]])

    async def _done(self, node: Node) -> list[str]:
        """Do one step; give those that need no longer wait."""
        name = node.step.name
        self._under_way[name] = None
        if self._watch is not None:
            self._watch.begin(name)
        result: Any = _NO_RESULT
        try:
            result = await (self._kept(node, name, self._scope) if node.each is None else self._each(node, node.each))
        except Exception as error:  # noqa: BLE001  # it becomes the flow's, or its step is left out
            self._told(name, StepState.FAILED)
            self._failed(node, error)
        except BaseException:
            self._told(name, StepState.CANCELLED)
            raise
        else:
            self._told(name, StepState.OK)
        del self._under_way[name]
        if result is not _NO_RESULT:
            self._scope[name] = result
        return self._settled(node, lost=result is _NO_RESULT)

    def _settled(self, node: Node, *, lost: bool) -> list[str]:
        """Find the steps that waited for one alone; what needs a lost one is lost as well."""
        ready, ended = [], [(node, lost)]
        while ended:
            one, is_lost = ended.pop()
            for name in one.feeds:
                self._waiting[name] -= 1
                if is_lost:
                    self._lost.add(name)
                if self._waiting[name]:
                    continue
                if name in self._lost:
                    self._told(name, StepState.LEFT_OUT)
                    ended.append((self._program.nodes[name], True))
                else:
                    ready.append(name)
        return ready

    def _told(self, name: str, state: StepState) -> None:
        if self._watch is not None:
            self._watch.end(name, state)

    def _failed(self, node: Node, error: BaseException) -> None:
        """Let the flow fail, unless the step says that it goes on."""
        failure = self._error(node, error)
        if node.step.on_error == "continue" and not is_a(error, _Ends):
            if is_a(error, Unbound):  # of a call that has failed observers tell
                host_log("WARNING", f"{failure}; the flow goes on")
            return
        raise failure from (failure.__cause__ if failure is error or is_a(error, _Ends) else error)

    # --- One step ---------------------------------------------------------------------------------------------------

    async def _each(self, node: Node, over: Reference) -> list[Any]:
        """Do a step once for each item of a list, some at once; the results are in the order of the items."""
        items = follow(self._scope[over.source], over)
        if not isinstance(items, list):
            kind = "None" if items is None else type(items).__name__
            raise Unbound(f"each = '{over}' is to be a list, and is {kind}")
        around = {source: self._scope[source] for source in node.sources}
        results: list[Any] = [None] * len(items)
        numbers = iter(range(len(items)))

        async def work() -> None:
            for number in numbers:  # shared: who is free takes the next
                scope = {**around, ITEM: items[number]}
                try:
                    results[number] = await self._kept(node, f"{node.step.name}[{number}]", scope)
                    self._counted(node, failed=False)
                except Exception as error:
                    self._counted(node, failed=True)
                    if node.step.on_error == "fail" or is_a(error, _Ends):
                        error.add_note(f"at item {number}")
                        raise

        group = Group()
        for _ in range(min(node.parallel, len(items))):
            group.start(work())
        await group.wait()
        return results

    def _counted(self, node: Node, *, failed: bool) -> None:
        if self._watch is not None:
            self._watch.item(node.step.name, failed=failed)

    async def _kept(self, node: Node, key: str, scope: Scope) -> Any:
        """Do a step, or one item of it, unless it has been done before."""
        kept = self._journal
        if kept is None:
            return await self._result(node, scope)
        with _ending():
            found = await kept.recorded(key)
            if found is not NOTHING:
                return found
            await kept.begin(key, node.step.call, idempotent=self._called[node.step.name].idempotent)
        try:
            result = await self._result(node, scope)
        except Exception as error:
            with _ending():
                await _finished(kept.failed(key, error))
            raise
        with _ending():
            await _finished(kept.record(key, result))
        return result

    async def _result(self, node: Node, scope: Scope) -> Any:
        step = node.step
        payload: Any = None if node.bind is None else node.bind(scope)
        if node.named is not None and self._called[step.name].whole:
            payload = payload[node.named[0]]
        token = in_step.set((self._call, step.name))
        try:
            result = await self._acall(step.call, payload)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling() > (self._cancelled if task is self._task else 0):
                raise
            # Nobody has cancelled this one, and a group would pass over it.
            raise Cancelled(step.call, "where it ran it was cancelled") from error
        finally:
            with suppress(ValueError):  # it is closed by somebody else, in another context
                in_step.reset(token)
        if not node.kept and self._journal is None:
            return None
        try:
            return by_value(result)
        except TypeError as error:
            raise Unbound(f"its result has no plain form: {error}") from None

    # --- What goes wrong --------------------------------------------------------------------------------------------

    def _error(self, node: Node, error: BaseException) -> BaseException:
        """Say which step of which flow it was."""
        flow, step = self._program.flow.name, node.step
        if is_a(error, _Ends):
            return error.__cause__ or error
        if is_a(error, Rejected) or is_a(error, Cancelled):
            error.add_note(f"in step {step.name!r} ({step.call}) of the flow {flow}")
            return error
        deadline = self._call.deadline if self._call is not None else None
        if is_a(error, DeadlineExceeded) and deadline is not None and (overdue := monotonic() - deadline) >= 0:
            return DeadlineExceeded(flow, overdue, f"in step {step.name!r} ({step.call})")
        if is_a(error, Unbound) or is_a(error, JackfieldError):
            return StepFailed(flow, step.name, step.call, _text(error))
        return StepFailed(flow, step.name, step.call, f"{error_type(error)}: {error_message(error)}")

    def _odd(self, reason: str) -> StepFailed:
        return StepFailed(self._program.flow.name, "", "", reason)

    def _overdue(self) -> DeadlineExceeded | None:
        """Tell whoever finds that its time was up what was under way."""
        if not self._under_way:
            return None
        names = ", ".join(map(repr, self._under_way))
        return DeadlineExceeded(self._program.flow.name, 0.0, f"it was cancelled in {names}")


def _text(error: BaseException) -> str:
    """Give the message, and where it was if that has been noted."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("at item ")]
    return f"{notes[0]}: {error}" if notes else str(error)


async def _finished(work: Coroutine[Any, Any, None]) -> None:
    """Await something to its end, though the flow be cancelled meanwhile: what has been done is to be known."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error from error.__cause__
        raise


class _Ends(Exception):
    """The journal fails, which ends the run, whatever the step says of errors."""


@contextmanager
def _ending() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _Ends from error
