"""The executor `remote`: functions that are declared here, and run on another host."""

import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

from jackfield.config import ExecutorSettings
from jackfield.contract.payload import payload_schema, result_schema
from jackfield.contract.schemas import misfits
from jackfield.errors import FunctionNotFound, JackfieldError, PayloadError, PermissionDenied, Unavailable
from jackfield.log import host_log
from jackfield.model.call import Call, begins
from jackfield.model.spec import FunctionSpec
from jackfield.ports import BoundExecutor, ExecutorStats
from jackfield_contrib.client import messages
from jackfield_contrib.client.client import Client
from jackfield_contrib.client.messages import Request
from jackfield_contrib.contracts import spec_of

_LOOK: Final = 2.0  # seconds that a registration waits for the other host
_AWAY: Final = 10.0  # seconds for which one that was away is not asked again at a registration


class RemoteExecutor:
    """Run functions on another host, through its door; adapter of `ports.Executor`.

    A function is one of both hosts: this one has its contract and policy, the other one runs it. Whom a call is for is
    what the other host makes of this one's key.

    Args:
        settings: where the other host is, and the key that it knows this one by.
    """

    injects = True

    def __init__(self, settings: ExecutorSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._away = 0.0
        self._agreed: weakref.WeakSet[FunctionSpec] = weakref.WeakSet()
        self._enqueued = self._busy = 0

    def refusal(self, spec: FunctionSpec) -> str:
        """Refuse what the other host runs by another contract, if that can be asked now; else it is looked at later.

        A flow is refused: what it calls may run there.
        """
        if spec.remote is not None:
            return "it is a flow, or runs in a worker: leave `executor` out, and have what it calls run there"
        differs = self._differs(spec)
        if not differs:
            return ""
        reason = "; ".join(differs).replace(": ", " ")
        return f"{reason}: have the same version of {spec.plugin or 'it'} on both hosts"

    def bind(self, spec: FunctionSpec, local: Callable[[Call], Any]) -> BoundExecutor:
        """Bind to one function."""
        del local
        with self._lock:
            return _Bound(self, spec, agreed=spec in self._agreed)

    def _differs(self, spec: FunctionSpec) -> tuple[str, ...]:
        """Ask the other host for the contract, unless it was away a moment ago."""
        if monotonic() < self._away:
            return ()
        asked: futures.Future[tuple[str, ...]] | None = None
        try:
            asked = self.client.begin(self.differences(spec))
            differences = asked.result(_LOOK)
        except (Unavailable, TimeoutError, futures.CancelledError) as error:
            if asked is not None:
                asked.cancel()
            self._away = monotonic() + _AWAY
            said = "no answer came" if isinstance(error, TimeoutError) else str(error)
            host_log("WARNING", f"executor {self.name}: contracts are compared later: {said}")
            return ()
        except JackfieldError as error:  # it is not there, or this host may not call it: which may change
            host_log("WARNING", f"executor {self.name}: {spec.name} cannot run there now: {error}")
            return ()
        if not differences:
            with self._lock:
                self._agreed.add(spec)
        return differences

    async def differences(self, spec: FunctionSpec) -> tuple[str, ...]:
        """Say how the function of the other host differs from the one that is declared here.

        Raises:
            JackfieldError: if it is not there, or the host is not.
        """
        there = spec_of(await self.client.asking.table(messages.description(spec.name)))
        takes = misfits(payload_schema(there), payload_schema(spec))
        gives = misfits(result_schema(spec), result_schema(there))
        where = f"version {there.version or '0'} on {self._settings.url}"
        return (
            *(f"{where} does not take what it takes here ({text})" for text in takes),
            *(f"{where} does not give what it gives here ({text})" for text in gives),
        )

    @property
    def name(self) -> str:
        """The name that functions use."""
        return self._settings.name

    @property
    def url(self) -> str:
        """Where the other host is, as the client's errors name it."""
        client = self._client
        return "" if client is None else client.url

    @property
    def client(self) -> Client:
        """The client, made when it is first needed: after a stop the host may be started again.

        Raises:
            Unavailable: if it cannot be made: the key is not there any more, or may not be sent to this URL.
        """
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = self._made()
        return client

    def _made(self) -> Client:
        said = self._settings
        try:
            return Client(said.url, key=None if said.key is None else said.key.reveal(), insecure=said.insecure)
        except (ValueError, JackfieldError) as error:
            raise Unavailable(f"executor {self.name}", str(error), "blocked", ran=False) from error

    def counted(self, more: int) -> None:
        """Count a call that begins, or has ended."""
        with self._lock:
            self._busy += more
            self._enqueued += max(more, 0)

    def stats(self) -> ExecutorStats:
        """Give the counts of this moment; `busy` are the calls whose answer has not come."""
        return ExecutorStats(enqueued=self._enqueued, busy=self._busy)

    def close(self) -> None:
        """Close all connections; what is under way ends with `Unavailable`."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


class _Bound:
    """One function that runs there.

    Args:
        executor: whose it is.
        spec: the function as it is declared here.
        agreed: whether the contract has been compared with the one there.
    """

    def __init__(self, executor: RemoteExecutor, spec: FunctionSpec, *, agreed: bool) -> None:
        self._executor, self._spec, self._agreed = executor, spec, agreed
        self._where = f"executor {executor.name}"

    def run(self, call: Call, /) -> Any:
        """Wait for the result, at most until the call's deadline."""
        request = _request(call)
        with self._told():
            running = self._executor.client.begin(self._asked(request))
            try:
                return running.result()
            except futures.CancelledError:
                raise Unavailable(self._where, "this host stops", "stopped", ran=None) from None
            except BaseException:
                running.cancel()
                raise

    async def arun(self, call: Call, /) -> Any:
        """Await the result."""
        request = _request(call)
        with self._told():
            # On the client's own loop: that of a caller may end tomorrow, or now, and connections with it.
            return await self._executor.client.hop(self._asked(request))

    async def _asked(self, request: Request) -> Any:
        executor = self._executor
        executor.counted(1)
        try:
            if not self._agreed:
                await self._agree()
            return await executor.client.asking.value(request)
        finally:
            executor.counted(-1)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Name the executor where a caller would not know of what there is talk: another host, and its rules."""
        name = self._spec.name
        try:
            yield
        except FunctionNotFound as error:
            reason = f"the host there has no function {name!r}: have its plugin run there"
            raise Unavailable(self._where, reason, "blocked", ran=False) from error
        except PermissionDenied as error:  # this host's, by its key: not that of whoever calls here
            reason = f"the host there does not let this one call {name!r}: {error.reason}"
            raise Unavailable(self._where, reason, "blocked", ran=False) from error
        except Unavailable as error:
            if error.what != self._executor.url:
                raise
            raise Unavailable(self._where, error.reason, error.cause, ran=error.ran) from error

    async def _agree(self) -> None:
        differences = await self._executor.differences(self._spec)
        if differences:
            raise Unavailable(self._where, "; ".join(differences), "blocked", ran=False)
        self._agreed = True

    def close(self) -> None:
        """Do nothing: the connections are everybody's."""


def _request(call: Call) -> Request:
    if (check := begins.get()) is not None:
        check(call)
    try:
        return messages.passed_on(call)
    except TypeError as error:
        raise PayloadError(call.name, "$", "plain data, to go to another host", str(error)) from None
