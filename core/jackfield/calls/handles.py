"""Typed handles: a function's name together with the types that its caller relies on."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from jackfield.calls.dispatch import Caller

P = TypeVar("P", contravariant=True)  # noqa: PLC0105  # the field's usual single letters
R = TypeVar("R", covariant=True)  # noqa: PLC0105


class Function(Generic[P, R]):
    """Calls one function with static types; made by `host.function(name, Payload, Result)`.

    Args:
        caller: makes the calls.
        name: the function.
        convert: makes a value of the caller's type of a result that is plain data, as that of another process is.
    """

    __slots__ = ("_acall", "_call", "_convert", "name")

    def __init__(self, caller: Caller, name: str, convert: Callable[[Any], Any] | None = None) -> None:
        self._call = caller.call
        self._acall = caller.acall
        self._convert = convert
        self.name = name

    def __call__(
        self,
        payload: P,
        /,
        *,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> R:
        """Call the function; arguments and errors as for `Host.call`."""
        if timeout is None and tenant is None and version is None and headers is None:
            call = self._call  # else a method of the class would be looked for first: a twentieth of a call in 3.11
            plain: R = call(self.name, payload)  # passing four keywords on would cost as much as the look-up
            return plain if self._convert is None else self._converted(plain)
        result: R = self._call(self.name, payload, timeout=timeout, tenant=tenant, version=version, headers=headers)
        return result if self._convert is None else self._converted(result)

    async def acall(
        self,
        payload: P,
        /,
        *,
        timeout: float | None = None,
        tenant: str | None = None,
        version: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> R:
        """Await the function; arguments and errors as for `Host.acall`."""
        result: R = await self._acall(
            self.name, payload, timeout=timeout, tenant=tenant, version=version, headers=headers
        )
        return result if self._convert is None else self._converted(result)

    def _converted(self, result: Any) -> R:
        assert self._convert is not None  # noqa: S101  # else nobody asks
        made: R = self._convert(result)
        return made

    def __repr__(self) -> str:
        """Show the name."""
        return f"Function({self.name!r})"


class Registration:
    """One registered function; `remove()` undoes exactly it.

    Args:
        function: what was registered.
        undo: removes it if it is still there.
    """

    __slots__ = ("_undo", "function")

    def __init__(self, function: Any, undo: Any) -> None:
        self.function = function
        self._undo = undo

    def remove(self) -> None:
        """Unregister this very function; does nothing when it is gone already, or has been replaced by another."""
        self._undo(self.function)

    def __repr__(self) -> str:
        """Show the key."""
        return f"Registration({self.function.key})"
