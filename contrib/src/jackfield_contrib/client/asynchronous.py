"""The client for event loops."""

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from jackfield.model.deadline import seconds_of
from jackfield_contrib.client import messages
from jackfield_contrib.client.address import Address, checked_key
from jackfield_contrib.client.asking import Asking
from jackfield_contrib.client.submissions import AsyncRemoteSubmission, identified
from jackfield_contrib.client.transport import Tls, Transport
from jackfield_contrib.contracts import converter, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeForm

    from jackfield.model.spec import FunctionSpec

P = TypeVar("P")
R = TypeVar("R")


class AsyncClient:
    """Calls the functions of a host elsewhere by name, from event loops, without a thread.

    It is used as an async context manager, or closed by `aclose`. Several event loops may share one: each has
    connections of its own. For what is not said here see `Client`, whose arguments it takes.

    Args:
        url: where the host's door is.
        key: says which tenant the calls are for.
        timeout: seconds for calls that their caller does not limit.
        insecure: send the key without TLS beyond this machine.
        tls: how the door's certificate is checked, and the certificate that this side shows.

    Raises:
        ValueError: as for `Client`.
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
        self._asking = Asking(self._transport)

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
        """Await a function's result; arguments and errors as for `Client.call`. Cancelling this cancels the call."""
        limit = self._timeout if timeout is None else timeout
        return await self._asking.value(messages.call(name, payload, limit, tenant, version, headers))

    call = acall
    """The same: in a client that is async throughout the name need not say so."""

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
    ) -> AsyncRemoteSubmission:
        """Have a call accepted for later; arguments and errors as for `Client.submit`."""
        request = messages.submit(name, payload, key, timeout, tenant, version, headers)
        return self._handle(await self._asking.table(request), key)

    submit = asubmit
    """The same."""

    async def submitted(self, identifier: str, /) -> AsyncRemoteSubmission:
        """Find a submitted call by its id; errors as for `Client.submitted`."""
        return self._handle(await self._asking.table(messages.submitted(identifier, "")), None)

    async def submissions(self, function: str = "*", *, status: str | None = None) -> list[dict[str, Any]]:
        """Give the submitted calls that are kept; as `Client.submissions`."""
        return await self._asking.rows(messages.submissions(function, status))

    async def functions(self) -> list[dict[str, Any]]:
        """List what can be called; as `Client.functions`."""
        return await self._asking.rows(messages.functions())

    async def describe(self, name: str) -> "FunctionSpec":
        """Give the contract of a function; as `Client.describe`."""
        return spec_of(await self._asking.table(messages.description(name)))

    async def function(self, name: str, payload: "TypeForm[P]", result: "TypeForm[R]") -> "AsyncFunction[P, R]":
        """Make a typed handle of a function, checked against its contract now; as `Client.function`."""
        return AsyncFunction(self, name, converter(await self.describe(name), payload, result))

    async def aclose(self) -> None:
        """Close all connections; what is under way ends with `Unavailable`. Closing twice is fine."""
        await self._transport.close()

    def _handle(self, document: Mapping[str, Any], key: str | None) -> AsyncRemoteSubmission:
        return AsyncRemoteSubmission(*identified(document), key, asking=self._asking)

    def __repr__(self) -> str:
        """Show where the host is."""
        return f"{type(self).__name__}({self._transport.url!r})"

    async def __aenter__(self) -> Self:
        """Give the client; connections are made when they are needed."""
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()


class AsyncFunction(Generic[P, R]):
    """Calls one function with static types; made by `await client.function(name, Payload, Result)`.

    Args:
        client: makes the calls.
        name: the function.
        convert: makes a value of the caller's type of a result; None where there is nothing to be made.
    """

    __slots__ = ("_client", "_convert", "name")

    def __init__(self, client: AsyncClient, name: str, convert: "Callable[[Any], Any] | None") -> None:
        self._client, self._convert = client, convert
        self.name = name

    async def acall(
        self,
        payload: P,
        /,
        *,
        timeout: float | None = None,  # the call's
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> R:
        """Await the function; arguments and errors as for `Client.call`."""
        found = await self._client.acall(self.name, payload, timeout, None, version, headers)
        made: R = found if self._convert is None else self._convert(found)
        return made

    __call__ = acall

    def __repr__(self) -> str:
        """Show the name."""
        return f"AsyncFunction({self.name!r})"
