"""The client for threads, and for any event loop."""

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent import futures
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from jackfield.calls.handles import Function
from jackfield.errors import AsyncCallRequired, Unavailable
from jackfield.model.deadline import seconds_of
from jackfield_contrib.client import messages
from jackfield_contrib.client.address import Address, checked_key
from jackfield_contrib.client.asking import Asking
from jackfield_contrib.client.loop import LoopThread
from jackfield_contrib.client.submissions import RemoteSubmission, identified
from jackfield_contrib.client.transport import Tls, Transport
from jackfield_contrib.contracts import converter, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import TypeForm

    from jackfield.model.spec import FunctionSpec

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")


class Client:
    """Calls the functions of a host elsewhere by name, as `Host` does those of this process.

    It is used as a context manager, or closed by `close`. Threads and event loops may share one; connections are kept,
    by a thread of its own. A process that was forked makes its own client.

    Within a function of a host, calls are within its deadline. They continue the current trace.

    Attributes:
        asking: asks on the client's own loop; for handles and executors.

    Args:
        url: where the host's door is: `http://HOST:PORT`, `https://HOST:PORT`, `http+unix:///PATH`.
        key: says which tenant the calls are for; it is sent to nobody else, and shown nowhere.
        timeout: seconds for calls that their caller does not limit.
        insecure: send the key without TLS beyond this machine, where everybody between can read it.
        tls: how the door's certificate is checked, and the certificate that this side shows; by default what the
            system trusts, and none.

    Raises:
        ValueError: if the URL is none, the key cannot be one, or it would be readable on its way.

    Examples:
        >>> Client("http://127.0.0.1:8080", key="s3cr3t")
        Client('http://127.0.0.1:8080')
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float | None = None,
        insecure: bool = False,
        tls: Tls = None,
    ) -> None:
        address = Address.parse(url)
        self._timeout = None if timeout is None else seconds_of(timeout)
        self._transport = Transport(address, checked_key(key, address, insecure=insecure), tls)
        self.asking: Final = Asking(self._transport)
        self._thread = LoopThread(self._transport.close)

    @property
    def url(self) -> str:
        """Where the host is."""
        return self._transport.url

    def call(
        self,
        name: str,
        payload: Any = None,
        /,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Call a function and wait for its result.

        Args:
            name: the function's dotted name.
            payload: plain data, or what `to_json` can write; for a function of several parameters a mapping of them.
            timeout: seconds this call may take; the function's own limit and the deadline around it apply as well.
            tenant: only None: the key says whom a call is for. It is here so that handles of a host fit.
            version: the version to call instead of the one the route picks.
            headers: passed on to the function.

        Returns:
            What the function returns, as plain data: a `dict` for a class.

        Raises:
            JackfieldError: what `Host.call` raises; of a `FunctionCrashed` the host's log has what it says.
            Unavailable: also when the host cannot be reached; `ran` is False when the call cannot have come there.
            AsyncCallRequired: inside a running event loop, which waiting would block.
            TypeError: an argument has the wrong type, or the payload no form that can be sent.
            ValueError: the timeout or a header cannot be one.
        """
        request = messages.call(name, payload, self._limit(timeout), tenant, version, headers)
        return self.wait(self.asking.value(request), name, "`await client.acall(…)`")

    async def acall(
        self,
        name: str,
        payload: Any = None,
        /,
        timeout: float | None = None,  # the call's
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Await a function's result, from any event loop; arguments and errors as for `call`.

        Who has an event loop alone is better served by `AsyncClient`, which needs no thread.
        """
        request = messages.call(name, payload, self._limit(timeout), tenant, version, headers)
        return await self.hop(self.asking.value(request))

    def submit(
        self,
        name: str,
        payload: Any = None,
        /,
        *,
        key: str | None = None,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RemoteSubmission:
        """Have a call accepted for later; when this returns the host keeps it.

        Args:
            name: the function's dotted name.
            payload: as for `call`.
            key: stands for this one call: submitted again, it is the same call. With a key a lost connection is tried
                again; without, it is not known whether the call was accepted.
            timeout: seconds from now until the call must have ended.
            tenant: as for `call`.
            version: as for `call`.
            headers: as for `call`.

        Returns:
            Its handle.

        Raises:
            JackfieldError: what `Host.submit` raises; further errors as for `call`.
        """
        request = messages.submit(name, payload, key, timeout, tenant, version, headers)
        made = self.wait(self.asking.table(request), name, "`await client.asubmit(…)`")
        return self._handle(made, key)

    async def asubmit(
        self,
        name: str,
        payload: Any = None,
        /,
        *,
        key: str | None = None,
        timeout: float | None = None,  # the call's
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RemoteSubmission:
        """Do what `submit` does, from any event loop."""
        request = messages.submit(name, payload, key, timeout, tenant, version, headers)
        return self._handle(await self.hop(self.asking.table(request)), key)

    def submitted(self, identifier: str, /) -> RemoteSubmission:
        """Find a submitted call by its id.

        Raises:
            LookupError: if there is none that this key may see, or it is not kept any more.
        """
        request = messages.submitted(identifier, "")
        return self._handle(self.wait(self.asking.table(request), "client.submitted", "an AsyncClient"), None)

    def submissions(self, function: str = "*", *, status: str | None = None) -> "Iterator[dict[str, Any]]":
        """Go through the submitted calls that are kept and that this key may see, 10,000 at most, in no order.

        Args:
            function: a name, or a pattern as in `billing.*`.
            status: one of `SubmissionState`.

        Returns:
            Of each its `id`, `function`, `version`, `key`, `status`, `reason`, `attempt`, `submitted` and `since`.
        """
        rows = self.wait(self.asking.rows(messages.submissions(function, status)), "client.submissions", _ASYNC)
        return iter(rows)

    def functions(self) -> list[dict[str, Any]]:
        """List what can be called: of each function its `name`, `version`, `plugin` and what it is `about`."""
        rows: list[dict[str, Any]] = self.wait(self.asking.rows(messages.functions()), "client.functions", _ASYNC)
        return rows

    def describe(self, name: str) -> "FunctionSpec":
        """Give the contract of a function, as far as it is known beyond its host.

        Raises:
            FunctionNotFound: if there is none of that name that this key may call.
        """
        found = self.wait(self.asking.table(messages.description(name)), "client.describe", _ASYNC)
        return spec_of(found)

    def function(self, name: str, payload: "TypeForm[P]", result: "TypeForm[R]") -> Function[P, R]:
        """Make a typed handle of a function, checked against its contract now.

        Args:
            name: the function.
            payload: the type that will be passed.
            result: the type that is expected; results are made into values of it.

        Raises:
            FunctionNotFound: if it is not there.
            ContractError: if its contract does not fit, with what differs.
        """
        return Function(self, name, converter(self.describe(name), payload, result))  # type: ignore[arg-type]

    def close(self) -> None:
        """Close all connections; what is under way ends with `Unavailable`. Closing twice is fine."""
        self._transport.shut()
        self._thread.close()

    def wait(self, work: Coroutine[Any, Any, T], what: str, instead: str) -> T:
        """Run something on the client's own loop, and wait for it; for handles."""
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  # documented; does not raise
            work.close()
            raise AsyncCallRequired(what, instead)
        running = self.begin(work)
        try:
            return running.result()
        except futures.CancelledError:
            raise self._gone() from None
        except BaseException:
            running.cancel()
            raise

    async def hop(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the client's own loop, and await it; for handles."""
        try:
            return await asyncio.wrap_future(self.begin(work))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self._gone() from None

    def begin(self, work: Coroutine[Any, Any, T]) -> "futures.Future[T]":
        """Begin something on the client's own loop; for executors.

        Raises:
            Unavailable: if the client is closed, or another process's.
        """
        try:
            self._transport.check()
        except Unavailable:
            work.close()
            raise
        return self._thread.begin(work)

    def _gone(self) -> Unavailable:
        return Unavailable(self._transport.url, "the client was closed meanwhile", "unreachable", ran=None)

    def _limit(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else timeout

    def _handle(self, document: Mapping[str, Any], key: str | None) -> RemoteSubmission:
        return RemoteSubmission(*identified(document), key, asking=self.asking, client=self)

    def __repr__(self) -> str:
        """Show where the host is."""
        return f"{type(self).__name__}({self._transport.url!r})"

    def __enter__(self) -> Self:
        """Give the client; connections are made when they are needed."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


_ASYNC = "an AsyncClient"
